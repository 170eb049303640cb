"""Keys, their files, and who is authorized."""

import stat

import msgspec
import pytest
import zmq

from grid import access, grants, keys, registrar
from grid.access import ANYONE, NOBODY, Access, Watch
from grid.context import new_context
from grid.errors import AccessError, BusError
from grid.grants import NOTHING
from grid.identity import OWN, Identity, Security, enter, exposed, identity_of, is_local, is_on
from grid.sockets import Addresses

OPEN = msgspec.structs.replace(Addresses(), requests="tcp://10.0.0.1:5572")
AGENT = grants.of_role("agent", "beta", ("S-1",))


@pytest.fixture
def folder(tmp_path):
    registrar.enroll(tmp_path / "keys", "beta", AGENT, role="agent")
    return tmp_path / "keys"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def holder(folder, name):
    return Access.load(folder / access.FILE).holders[name]


def test_key_files_are_for_their_owner_alone(folder):
    assert mode(folder) == 0o700
    assert {mode(f) for f in folder.iterdir()} == {0o600}


def test_key_that_others_can_read_is_refused(folder):
    (folder / "beta.key").chmod(0o644)
    with pytest.raises(AccessError, match="expected mode 0600"):
        keys.load(folder, "beta")


def test_authorization_that_others_can_change_is_refused(folder):
    (folder / access.FILE).chmod(0o666)
    with pytest.raises(AccessError, match="its owner alone can change"):
        Access.load(folder / access.FILE)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "beta"}', "\x00"])
def test_damaged_key_and_authorization_are_errors(folder, text):
    for name, load in (("beta.key", keys.load), (access.FILE, None)):
        (folder / name).write_text(text)
        with pytest.raises(AccessError, match="not a"):
            load(folder, "beta") if load else Access.load(folder / access.FILE)


def test_secret_is_in_no_text(folder):
    key = keys.load(folder, "beta")
    assert key.secret not in repr(key)
    assert key.secret not in registrar.describe(folder, "beta")
    assert key.public in registrar.table(folder)


def test_key_talks_to_the_grid_of_its_folder(folder):
    assert keys.load(folder, "beta").server == keys.load(folder, "grid").public
    assert Identity(folder, "grid").serves
    assert not Identity(folder, "beta").serves


def test_who_holds_a_key_depends_on_the_time_after_a_rotation(folder):
    before = holder(folder, "beta").public
    registrar.rotate(folder, "beta", grace_s=60)
    found = holder(folder, "beta")
    now = Access.load(folder / access.FILE)
    until_ns = found.former[0].until_ns
    assert found.public == keys.load(folder, "beta").public != before
    assert now.who(before, until_ns - 1).grant == AGENT
    assert now.who(before, until_ns).grant == NOTHING
    assert now.who(found.public, until_ns).grant == AGENT


def test_revoked_holder_has_no_right_under_any_of_its_keys(folder):
    before = holder(folder, "beta").public
    registrar.rotate(folder, "beta", grace_s=60)
    found = registrar.revoke(folder, "beta")
    now = Access.load(folder / access.FILE)
    for public in (before, found.public):
        assert now.who(public, 0).grant == NOTHING
        assert now.who(public, 0).name == "beta"
    with pytest.raises(AccessError, match="is revoked"):
        registrar.rotate(folder, "beta")


def test_revoked_name_can_be_given_to_a_new_key(folder):
    registrar.revoke(folder, "beta")
    again = registrar.enroll(folder, "beta", AGENT)
    assert Access.load(folder / access.FILE).who(again.public, 0).grant == AGENT


def test_stranger_has_no_right():
    assert Access().who("x" * 40, 0) == NOBODY
    assert NOBODY.grant == NOTHING
    assert ANYONE.grant.is_everything


def test_one_public_key_has_one_name(folder):
    taken = holder(folder, "beta").public
    with pytest.raises(AccessError, match="is that of 'beta'"):
        registrar.enroll(folder, "gamma", AGENT, public=taken)


def test_name_is_taken_until_it_is_revoked(folder):
    with pytest.raises(AccessError, match="is there already"):
        registrar.enroll(folder, "beta", AGENT)


def test_pair_made_elsewhere_leaves_no_secret_here(folder):
    elsewhere = keys.new("gamma")
    registrar.enroll(folder, "gamma", AGENT, public=elsewhere.public)
    assert not keys.file_of(folder, "gamma").exists()
    assert "not here" in registrar.describe(folder, "gamma")
    with pytest.raises(AccessError, match="matching regex"):
        registrar.enroll(folder, "delta", AGENT, public="short")


def test_new_key_of_the_grid_is_told_to_its_other_keys(folder):
    registrar.rotate(folder, "grid")
    assert keys.load(folder, "beta").server == keys.load(folder, "grid").public
    with pytest.raises(AccessError, match="rotate it instead"):
        registrar.revoke(folder, "grid")


def test_watch_follows_the_file_and_keeps_what_it_had_when_that_is_damaged(folder, monkeypatch):
    monkeypatch.setattr(access, "LOOK_S", 0.0)
    public = holder(folder, "beta").public
    watch = Watch(folder / access.FILE)
    assert watch.who(public).grant == AGENT
    registrar.revoke(folder, "beta")
    assert watch.who(public).grant == NOTHING
    again = registrar.enroll(folder, "beta", AGENT)
    assert watch.who(again.public).grant == AGENT
    (folder / access.FILE).write_text("oh")
    assert watch.who(again.public).grant == AGENT
    assert watch.unreadable > 0


def test_identity_takes_up_a_key_that_was_rotated(folder):
    identity = Identity(folder, "beta")
    identity.refresh()
    assert identity.generation == 1
    registrar.rotate(folder, "beta")
    identity.refresh()
    assert (identity.generation, identity.key) == (2, keys.load(folder, "beta"))
    keys.file_of(folder, "beta").write_text("oh")
    identity.refresh()
    assert identity.generation == 2


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("ipc:///tmp/x", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://localhost:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://[::]:1", False),
        ("tcp://*:1", False),
        ("tcp://desk.local:1", False),
        ("tcp://127.0.0.1.example.com:1", False),
    ],
)
def test_address_is_local_if_no_other_machine_reaches_it(address, local):
    assert is_local(address) is local


def test_security_is_on_as_soon_as_one_address_is_open(folder):
    assert not is_on(Security(), Addresses())
    assert is_on(Security(), OPEN)
    assert exposed(OPEN) == ["tcp://10.0.0.1:5572"]
    assert is_on(Security(mode="on"), Addresses())
    assert identity_of(Security(), OPEN, folder) is not None
    assert identity_of(Security(), Addresses(), folder) is None
    assert identity_of(Security(mode="off"), OPEN, folder) is None


def test_security_that_is_off_on_an_open_address_is_warned_of(tmp_path, caplog, monkeypatch):
    for name in ("identity", "is_open"):
        monkeypatch.setattr(OWN, name, getattr(OWN, name))
    enter(Security(mode="off"), Addresses(), tmp_path)
    assert caplog.text == ""
    enter(Security(mode="off"), Addresses(), tmp_path, OPEN)
    assert "SECURITY IS OFF: whoever reaches tcp://10.0.0.1:5572" in caplog.text
    assert OWN.is_open


def test_open_address_is_not_bound_without_a_key_by_mistake():
    context = new_context()
    with context.socket(zmq.REP) as socket, pytest.raises(BusError, match="expected a key"):
        context.bind(socket, "tcp://0.0.0.0:5572", "requests")
    context.destroy(linger=0)


def test_grid_that_is_to_be_secured_without_a_key_does_not_start(tmp_path):
    with pytest.raises(AccessError, match=r"grid\.key: key 'grid' cannot be read"):
        identity_of(Security(), OPEN, tmp_path)
