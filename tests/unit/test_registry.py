from pathlib import Path

import msgspec
import pytest

from agents.checkpoint import Checkpoint
from agents.registry import history
from agents.registry.evidence import DEMANDED, Evidence, lacking
from agents.registry.history import Change
from agents.registry.registry import Registry, resolve
from agents.registry.show import describe, diff, table
from agents.registry.watch import NameWatch
from grid.errors import CheckpointError, ConfigError
from tests.support import runs
from tests.support.procs import until

SAID = {"by": "ann", "why": "better", "at": "2026-01-01T00:00:00+00:00"}
NAME = "eurusd/champion"


def passed(what: str, held: bool = True) -> Evidence:
    return msgspec.convert({"what": what, "passed": held, "said": "so", "at": "now"}, Evidence)


def proven(registry: Registry, folder: Path, seed: int) -> Checkpoint:
    kept = registry.add(runs.checkpoint(folder, seed=seed))
    for what in DEMANDED:
        registry.learn(kept.digest, passed(what))
    return kept


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_promote_checkpoint_without_evidence_is_refused_and_leaves_no_name(
    registry: Registry, tmp_path: Path
) -> None:
    checkpoint = runs.checkpoint(tmp_path / "run")
    with pytest.raises(CheckpointError, match="no evaluation; no lookahead; no parity"):
        registry.promote(checkpoint, NAME, **SAID)
    assert registry.changes() == []
    assert not registry.pointer(NAME).exists()


def test_promote_failed_check_is_named_and_refused(registry: Registry, tmp_path: Path) -> None:
    kept = proven(registry, tmp_path / "run", 0)
    registry.learn(kept.digest, passed("parity", held=False))
    with pytest.raises(CheckpointError, match="parity failed: so"):
        registry.promote(kept, NAME, **SAID)


def test_promote_forced_demands_a_reason_and_records_that_it_was_forced(
    registry: Registry, tmp_path: Path
) -> None:
    checkpoint = runs.checkpoint(tmp_path / "run")
    with pytest.raises(ConfigError, match="expected a reason"):
        registry.promote(checkpoint, NAME, **{**SAID, "why": ""}, force=True)
    registry.promote(checkpoint, NAME, **SAID, force=True)
    assert registry.changes()[-1].forced
    assert "forced: better" in table(registry)


def test_promoted_name_opens_the_checkpoint_without_its_resume_files(
    registry: Registry, tmp_path: Path
) -> None:
    kept = proven(registry, tmp_path / "run", 0)
    change = registry.promote(kept, NAME, **SAID)
    opened = registry.open(NAME)
    assert opened.digest == kept.digest == change.digest
    assert not opened.resumable
    assert resolve(f"model:{NAME}", registry.folder) == opened.path
    assert resolve(f"model:{kept.digest[:6]}", registry.folder) == opened.path
    assert [e.what for e in change.evidence] == list(DEMANDED)
    assert not change.forced


def test_promote_another_spec_under_a_name_in_use_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    registry.promote(proven(registry, tmp_path / "run", 0), NAME, **SAID)
    other = msgspec.structs.replace(runs.SPEC, window=3)
    kept = registry.add(runs.checkpoint(tmp_path / "run", other))
    for what in DEMANDED:
        registry.learn(kept.digest, passed(what))
    with pytest.raises(CheckpointError, match="another spec"):
        registry.promote(kept, NAME, **SAID)
    registry.promote(kept, "eurusd/shadow", **SAID)


def test_rollback_undoes_one_promotion_after_the_other(registry: Registry, tmp_path: Path) -> None:
    kept = [proven(registry, tmp_path / "run", seed) for seed in range(3)]
    for each in kept:
        registry.promote(each, NAME, **SAID)
    assert registry.rollback(NAME, **SAID).digest == kept[1].digest
    assert registry.rollback(NAME, **SAID).digest == kept[0].digest
    with pytest.raises(CheckpointError, match="nothing before"):
        registry.rollback(NAME, **SAID)
    assert registry.open(NAME).digest == kept[0].digest
    assert registry.pointer(NAME).read_text().strip() == kept[0].digest


def test_history_cut_short_by_a_crash_is_read_to_its_last_whole_line(
    registry: Registry, tmp_path: Path
) -> None:
    kept = [proven(registry, tmp_path / "run", seed) for seed in range(2)]
    registry.promote(kept[0], NAME, **SAID)
    file = registry.folder / "history.jsonl"
    file.write_bytes(file.read_bytes() + b'{"name":"eurusd/ch')
    assert registry.open(NAME).digest == kept[0].digest
    registry.promote(kept[1], NAME, **SAID)
    assert [c.digest for c in registry.changes()] == [k.digest for k in kept]


def test_pointer_left_behind_by_a_crash_is_mended_by_the_next_change(
    registry: Registry, tmp_path: Path
) -> None:
    registry.promote(proven(registry, tmp_path / "run", 0), NAME, **SAID)
    registry.pointer(NAME).write_text("nonsense\n")
    registry.learn("0" * 20, passed("parity"))
    assert registry.pointer(NAME).read_text().strip() == registry.open(NAME).digest


def test_history_damaged_in_the_middle_is_told_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"{}\n{}\n")
    with pytest.raises(CheckpointError, match="line 1 is damaged"):
        history.read(file)


def test_open_unknown_name_tells_those_there_are(registry: Registry, tmp_path: Path) -> None:
    registry.promote(proven(registry, tmp_path / "run", 0), NAME, **SAID)
    with pytest.raises(CheckpointError, match=f"no such name; there are: {NAME}"):
        registry.open("gold/champion")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        registry.open("ffff")


@pytest.mark.parametrize("name", ["champion", "a/b/c", "../x/y", "a/.b", ""])
def test_promote_under_a_bad_name_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="STRATEGY/ROLE"):
        registry.promote(proven(registry, tmp_path / "run", 0), name, **SAID)


def test_previous_of_a_name_that_was_promoted_again_is_what_stood_between() -> None:
    def change(digest: str, act: str = "promote") -> Change:
        return msgspec.convert(
            {"name": NAME, "digest": digest, "act": act, "at": "", "by": "", "why": ""}, Change
        )

    done = [change("a"), change("b"), change("a", "rollback"), change("c")]
    assert history.previous(done, NAME) == "a"
    assert history.previous(done[:3], NAME) == ""
    assert history.previous(done, "x/y") == ""


def test_lacking_the_newest_of_two_findings_counts() -> None:
    found = [passed(what) for what in DEMANDED]
    assert lacking([passed("parity", held=False), *found]) == []
    assert lacking([*found, passed("parity", held=False)]) == ["parity failed: so"]


def test_describe_and_diff_tell_what_is_known(registry: Registry, tmp_path: Path) -> None:
    a = proven(registry, tmp_path / "run", 0)
    b = registry.add(
        runs.checkpoint(tmp_path / "run", msgspec.structs.replace(runs.SPEC, window=3))
    )
    registry.promote(a, NAME, **SAID)
    assert f"names        {NAME}" in describe(registry, a)
    assert "evaluation   passed now: so" in describe(registry, a)
    assert "not checked: models check" in describe(registry, b)
    assert "spec.window" in diff(a, b)
    assert "2 | 3" in diff(a, b)


def test_watch_of_a_name_gives_each_new_checkpoint_once(registry: Registry, tmp_path: Path) -> None:
    kept = [proven(registry, tmp_path / "run", seed) for seed in range(2)]
    registry.promote(kept[0], NAME, **SAID)
    watch = NameWatch(registry, NAME, kept[0].digest)
    now_ns = 0

    def polled() -> str | None:
        nonlocal now_ns
        now_ns += 10**9
        found = watch.poll(now_ns)
        return found[1] if found else None

    assert polled() is None
    registry.promote(kept[1], NAME, **SAID)
    assert until(polled, "the new checkpoint") == kept[1].digest
    registry.rollback(NAME, **SAID)
    assert until(polled, "the old checkpoint") == kept[0].digest
    assert polled() is None


def test_watch_of_a_damaged_checkpoint_keeps_what_is_in_use(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [proven(registry, tmp_path / "run", seed) for seed in range(2)]
    registry.promote(kept[0], NAME, **SAID)
    watch = NameWatch(registry, NAME, kept[0].digest)
    registry.promote(kept[1], NAME, **SAID)
    (kept[1].path / "policy.onnx").write_bytes(b"")
    now_ns = 0

    def told() -> bool:
        nonlocal now_ns
        now_ns += 10**9
        assert watch.poll(now_ns) is None
        return "cannot be used" in caplog.text

    until(told, "a warning")
