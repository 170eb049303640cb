"""Who comes in at the gateway."""

import stat

import pytest

from grid.errors import AccessError, ConfigError
from grid.gateway import keys, metrics
from grid.gateway.config import GatewayConfig
from grid.gateway.door import Door
from grid.gateway.keys import ApiKeys
from grid.gateway.problem import Refusal
from grid.gateway.quota import Bucket
from grid.gateway.state import State

LOCAL = {"host": "127.0.0.1:8180"}


def door(folder, mode="paper", **config):
    return Door(GatewayConfig(**config), ApiKeys(folder), mode)


def refused(door, headers, scope="read"):
    with pytest.raises(Refusal) as found:
        door.enter(headers, "peer", scope)
    return found.value.status


def test_key_is_kept_as_a_hash_in_a_file_of_its_owner(tmp_path):
    text = keys.make(tmp_path, "web", ("paper", "read"))
    file = tmp_path / keys.FILE
    assert text.rpartition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ApiKeys(tmp_path).holder(text).scopes == ("read", "paper")
    assert ApiKeys(tmp_path).holder(text[:-1] + ("0" if text[-1] != "0" else "1")) is None
    with pytest.raises(AccessError, match="one already"):
        keys.make(tmp_path, "web", ())


def test_revoked_key_is_good_for_nothing_and_leaves_the_gateway_closed(tmp_path):
    text = keys.make(tmp_path, "web", ("read",))
    keys.revoke(tmp_path, "web")
    assert refused(door(tmp_path), {**LOCAL, "x-api-key": text}) == 401
    assert refused(door(tmp_path), LOCAL) == 401
    with pytest.raises(AccessError, match="expected one of web"):
        keys.revoke(tmp_path, "nobody")


def test_scope_decides_what_a_key_may_do(tmp_path):
    text = keys.make(tmp_path, "web", ("paper",))
    headers = {**LOCAL, "authorization": f"Bearer {text}"}
    assert door(tmp_path).enter(headers, "peer", "read").name == "web"
    assert door(tmp_path).enter(headers, "peer", "paper").name == "web"
    assert refused(door(tmp_path), headers, "live") == 403


def test_gateway_without_keys_is_open_to_this_machine_alone_and_never_live(tmp_path):
    found = door(tmp_path)
    assert found.enter(LOCAL, "127.0.0.1", "paper").name == "local"
    assert refused(found, LOCAL, "live") == 403
    assert refused(found, {"host": "evil.example:8180"}) == 403
    assert refused(found, {**LOCAL, "origin": "http://evil.example"}) == 403
    assert found.enter({**LOCAL, "origin": "http://127.0.0.1:8180"}, "", "read")
    friend = door(tmp_path, origins=("https://desk.example",))
    assert friend.enter({**LOCAL, "origin": "https://desk.example"}, "", "read")


def test_address_that_others_reach_is_refused_without_a_key(tmp_path):
    with pytest.raises(ConfigError, match=r"gateway.host 0\.0\.0\.0: .*API key"):
        door(tmp_path, host="0.0.0.0")
    keys.make(tmp_path, "web", ())
    assert not door(tmp_path, host="0.0.0.0").is_open


def test_ticket_lets_in_once(tmp_path):
    found = door(tmp_path)
    word = found.ticket(found.enter(LOCAL, "", "read"))
    assert found.enter_with(word, LOCAL).name == "local"
    with pytest.raises(Refusal) as again:
        found.enter_with(word, LOCAL)
    assert again.value.status == 401


def test_key_that_asks_too_often_is_told_when_to_come_back(tmp_path):
    found = door(tmp_path, rate_per_s=0.5, burst=2)
    found.enter(LOCAL, "", "read")
    found.enter(LOCAL, "", "read")
    with pytest.raises(Refusal) as limited:
        found.enter(LOCAL, "", "read")
    assert (limited.value.status, limited.value.headers) == (429, {"Retry-After": "2"})


def test_bucket_fills_again_up_to_its_burst():
    bucket = Bucket(10.0, 2)
    assert [bucket.wait_s("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert bucket.wait_s("b", 0.0) == 0
    assert [bucket.wait_s("a", 100.0) for _ in range(3)] == [0, 0, 1]


def test_metrics_escape_what_a_label_may_hold():
    page = metrics.render(State(), {"clients": 2.0}, 0)
    assert "\nargonaut_gateway_clients 2.0\n" in page
    assert metrics._escaped('a"b\\c\n') == r"a\"b\\c\n"
