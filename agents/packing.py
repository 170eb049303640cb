"""A recorded session into a bundle, and a bundle proved anywhere."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from agents import bundle, parity
from agents.baselines import PREFIX
from agents.bundle import Manifest
from agents.checkpoint import RESUME, Checkpoint
from agents.expected import MOST_LINES, Expected
from agents.parity import Check
from agents.provenance import system, versions
from envs import rerun
from grid import session, transcript
from grid.errors import SessionError
from grid.home import Home
from grid.limits import Limits
from grid.rejudging import limits_of
from grid.session import Session
from grid.transcript import Transcript
from grid.verifying import Fault, verify

_RUN = "bundle"  # the training run under which an unpacked bundle's checkpoints lie


class Validated(NamedTuple):
    """What a bundle's replay came to."""

    equal: bool
    text: str


def pack(path: Path, file: Path, home: Home) -> Manifest:
    """Pack a session with all that its replay needs.

    Args:
        path: of the session's folder.
        file: of the bundle.
        home: where the checkpoints are.

    Raises:
        CheckpointError: the checkpoint of an agent is not here.
        SessionError: the session is not whole, holds no decision, or the file is there already.
    """
    try:
        verify(path)
    except Fault as e:
        raise SessionError(f"only a session that is whole can be packed (cut one out): {e}") from e
    opened = Session.open(path)
    runs = [run for run in transcript.read(opened) if run.decisions]
    if not runs or opened.manifest is None:
        raise SessionError(f"{path}: expected a session with decisions, found none")
    if any(parity.is_by_chance(run) for run in runs):
        raise SessionError(
            f"{path}: expected a run from its beginning, since its fills are drawn by chance, "
            f"found a part of one"
        )
    members: dict[str, Path | bytes] = {
        f"session/{session.MANIFEST}": path / session.MANIFEST,
        f"session/{session.EVENTS}": path / session.EVENTS,
        "expected.json": msgspec.json.encode([_expected(run) for run in runs]),
        "config.json": _json(opened.manifest.config),
        "runs.json": _json([_told(run) for run in runs]),
    }
    for checkpoint in _checkpoints(runs, home):
        members[f"checkpoints/{checkpoint.digest}/manifest.json"] = (
            checkpoint.path / "manifest.json"
        )
        for name in checkpoint.manifest.files:
            if not name.startswith(f"{RESUME}/"):
                members[f"checkpoints/{checkpoint.digest}/{name}"] = checkpoint.path / name
    manifest = Manifest(session=opened.name, versions=versions(), platform=system())
    return bundle.write(file, manifest, members)


def validate(file: Path) -> Validated:
    """Replay a bundle through the engine here and compare everything, to the last bit.

    Raises:
        EngineError: the replay failed in the engine.
        SessionError: the bundle is damaged.
    """
    with TemporaryDirectory(prefix="argonaut-") as folder:
        home = Home(Path(folder))
        manifest = bundle.unpack(file, home.root)
        checkpoints = home.runs / _RUN / "checkpoints"
        checkpoints.parent.mkdir(parents=True)
        if (home.root / "checkpoints").is_dir():
            (home.root / "checkpoints").rename(checkpoints)
        path = home.root / "session"
        try:
            verify(path)
            wanted = msgspec.json.decode(
                (home.root / "expected.json").read_bytes(), type=list[Expected]
            )
        except (Fault, msgspec.MsgspecError) as e:
            raise SessionError(f"{file}: damaged: {e}") from e
        opened = Session.open(path)
        runs = [run for run in transcript.read(opened) if run.decisions]
        limits = limits_of(opened.manifest.config) if opened.manifest else None
        return _compared(manifest, runs, wanted, home, limits)


def _compared(
    manifest: Manifest,
    runs: list[Transcript],
    wanted: list[Expected],
    home: Home,
    limits: Limits | None,
) -> Validated:
    lines = [f"bundle of session {manifest.session}, packed on {manifest.platform}"]
    here = versions()
    for name, version in manifest.versions.items():
        if here.get(name) != version:
            lines.append(f"note: made with {name} {version}, here is {here.get(name, 'none')}")
    names = [(run.info.strategy_id, run.info.epoch) for run in runs]
    if names != [(each.strategy_id, each.epoch) for each in wanted]:
        return Validated(False, "\n".join([*lines, "expected other runs than the recording's"]))
    equal = True
    for run, expected in zip(runs, wanted, strict=True):
        verdict, differently = parity.judged(run, limits)
        checks = [*parity.compare(run, home), verdict]
        differences = expected.differences(rerun.rerun(run))
        orders, fills = len(expected.orders), len(expected.fills)
        checks.append(
            Check(
                "orders, fills, money: expected = replay",
                not differences,
                f"{orders} orders, {fills} fills" if not differences else "see below",
            )
        )
        lines += [f"strategy {expected.strategy_id}, epoch {expected.epoch}:"]
        lines += [parity.render(checks), *differences, *differently[:MOST_LINES]]
        equal = equal and all(check.equal for check in checks)
    return Validated(equal, "\n".join(lines))


def _expected(run: Transcript) -> Expected:
    said = rerun.recorded(run)
    return Expected(
        strategy_id=run.info.strategy_id,
        epoch=run.info.epoch,
        decisions=len(run.decisions),
        orders=tuple(said.orders),
        fills=tuple(said.fills),
        cash=said.cash,
        position_qty=said.position_qty,
    )


def _checkpoints(runs: list[Transcript], home: Home) -> list[Checkpoint]:
    digests = {name for run in runs for name in parity.policies(run)}
    learned = sorted(name for name in digests if name and not name.startswith(PREFIX))
    return [Checkpoint.open(parity.find_checkpoint(name, home)) for name in learned]


def _told(run: Transcript) -> dict[str, Any]:
    return {
        "strategy_id": run.info.strategy_id,
        "epoch": run.info.epoch,
        "spec": msgspec.to_builtins(run.spec),
        "instrument": msgspec.to_builtins(run.instrument),
        "venue": msgspec.to_builtins(run.venue),
        "versions": run.info.versions,
    }


def _json(content: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
