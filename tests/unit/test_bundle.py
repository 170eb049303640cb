"""A bundle is unpacked only where it is whole, small enough, and leads nowhere else."""

import stat
import zipfile
from pathlib import Path

import msgspec
import pytest

from agents import bundle
from agents.bundle import Manifest, Member
from agents.expected import MOST_LINES, Expected
from envs.rerun import Filled, Order, Rerun
from grid.errors import SessionError

MEMBERS = {"session/events.mcap": b"events", "expected.json": b"[]"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "x.argonaut", Manifest(session="s"), dict(MEMBERS))
    return tmp_path / "x.argonaut"


def test_bundle_gives_back_its_members_and_is_the_same_each_time(
    file: Path, tmp_path: Path
) -> None:
    manifest = bundle.unpack(file, tmp_path / "out")
    assert manifest.session == "s"
    assert {name: (tmp_path / "out" / name).read_bytes() for name in MEMBERS} == MEMBERS
    bundle.write(tmp_path / "y.argonaut", Manifest(session="s"), dict(reversed(MEMBERS.items())))
    assert (tmp_path / "y.argonaut").read_bytes() == file.read_bytes()
    with pytest.raises(SessionError, match="expected no file of that name"):
        bundle.write(file, Manifest(session="s"), dict(MEMBERS))
    assert {p.name for p in tmp_path.iterdir()} == {"x.argonaut", "y.argonaut", "out"}


def packed(
    file: Path, members: list[tuple[zipfile.ZipInfo, bytes]], listed: dict[str, Member]
) -> Path:
    manifest = msgspec.json.encode(Manifest(session="s", members=listed))
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("manifest.json", manifest)
        for entry, content in members:
            out.writestr(entry, content)
    return file


def ref(content: bytes) -> Member:
    return bundle._ref(content)


def entry(
    name: str, mode: int = stat.S_IFREG | 0o644, kind: int = zipfile.ZIP_STORED
) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.external_attr = mode << 16
    found.compress_type = kind
    return found


HOSTILE = {
    "a way out": (entry("../x"), "called"),
    "an absolute name": (entry("/tmp/x"), "called"),
    "a way out in the middle": (entry("session/../../x"), "called"),
    "a hidden name": (entry("session/.x"), "called"),
    "a deep name": (entry("a/b/c/d/e/f/g"), "called"),
    "a link": (entry("x", stat.S_IFLNK | 0o777), "a plain file"),
    "something compressed": (entry("x", kind=zipfile.ZIP_DEFLATED), "compressed"),
}


@pytest.mark.parametrize("hostile", sorted(HOSTILE))
def test_bundle_with_a_member_that_may_not_be_is_refused(tmp_path: Path, hostile: str) -> None:
    info, said = HOSTILE[hostile]
    content = b"x" * 100
    file = packed(tmp_path / "x.argonaut", [(info, content)], {info.filename: ref(content)})
    with pytest.raises(SessionError, match=said):
        bundle.unpack(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["x.argonaut"]


def test_bundle_with_a_member_too_many_or_too_few_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "a", [(entry("x"), b"x")], {})
    with pytest.raises(SessionError, match="x: not in the manifest"):
        bundle.unpack(file, tmp_path / "out")
    file = packed(tmp_path / "b", [], {"x": ref(b"x")})
    with pytest.raises(SessionError, match="x: missing"):
        bundle.unpack(file, tmp_path / "out")


def test_bundle_with_another_content_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "a", [(entry("x"), b"y")], {"x": ref(b"x")})
    with pytest.raises(SessionError, match=r"x: sha256 \w+ expected, found"):
        bundle.unpack(file, tmp_path / "out")
    file = packed(tmp_path / "b", [(entry("x"), b"xx")], {"x": ref(b"x")})
    with pytest.raises(SessionError, match="x: 1 bytes expected, found 2"):
        bundle.unpack(file, tmp_path / "out")


def test_bundle_beyond_its_bounds_is_refused(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MAX_BYTES", 100)
    with pytest.raises(SessionError, match="at most 100 bytes"):
        bundle.unpack(file, tmp_path / "out")
    monkeypatch.setattr(bundle, "MAX_MEMBERS", 2)
    with pytest.raises(SessionError, match="at most 2 members"):
        bundle.unpack(file, tmp_path / "out")


def test_bundle_that_is_torn_altered_or_none_is_refused_in_a_sentence(
    tmp_path: Path, file: Path
) -> None:
    whole = file.read_bytes()
    at = whole.index(b"events", whole.index(b"PK", 100))
    for n, broken in enumerate((b"", b"PK", whole[:-30], whole[:200], b"x" * 1000)):
        other = tmp_path / f"{n}.argonaut"
        other.write_bytes(broken)
        with pytest.raises(SessionError, match="no bundle, or a damaged one"):
            bundle.unpack(other, tmp_path / f"out-{n}")
    file.write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    with pytest.raises(SessionError, match="damaged"):
        bundle.unpack(file, tmp_path / "out")
    with pytest.raises(SessionError, match="No such file"):
        bundle.unpack(tmp_path / "none", tmp_path / "out")


def test_differences_name_row_field_and_both_values() -> None:
    orders = (Order("a", "BUY", 1.0), Order("b", "SELL", 2.0), Order("c", "BUY", 1.0))
    fills = (Filled("a", "BUY", 1.0, 1.5, 0.1),)
    expected = Expected(
        strategy_id="S",
        epoch=1,
        decisions=3,
        orders=orders,
        fills=fills,
        cash=9.0,
        position_qty=0.0,
    )
    same = Rerun(list(orders), list(fills), 9.0, 0.0)
    assert expected.differences(same) == []
    other = Rerun(
        [orders[0], orders[1]._replace(qty=2.5)], [*fills, fills[0]._replace(px=1.25)], 9.5, 0.0
    )
    assert expected.differences(other) == [
        "order 2: qty expected 2.0 found 2.5",
        "order 3: expected c BUY 1.0 found none",
        "fill 2: expected none found a BUY 1.0 1.25 0.1",
        "cash expected 9.0 found 9.5",
    ]
    many = expected.differences(Rerun([], [fills[0]] * 100, 9.0, 0.0))
    assert len(many) == MOST_LINES + 1
    assert many[-1] == "and 82 more"
