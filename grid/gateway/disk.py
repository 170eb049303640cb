"""What lies on disk beside a grid: sessions, runs, the grids of this home. Read at each request."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from grid import session
from grid.gridstate import running
from grid.home import Home
from grid.topology import GridConfig

_MOST: Final = 5_000


@dataclass(slots=True)
class Session:
    """A recorded session."""

    id: str
    state: str
    started_ns: int
    ended_ns: int
    events: int
    lost: int
    bytes: int


@dataclass(slots=True)
class Run:
    """A training run and its checkpoints."""

    id: str
    modified_ns: int
    checkpoints: list[str]


@dataclass(slots=True)
class Model:
    """A name in the registry of checkpoints."""

    name: str
    digest: str
    since: str
    by: str
    why: str


@dataclass(slots=True)
class Child:
    """A process that a supervisor watches."""

    name: str
    pid: int
    phase: str
    restarts: int


@dataclass(slots=True)
class Grid:
    """A grid of this home folder."""

    name: str
    strategy_id: str
    venue: str
    mode: str
    running: bool
    started_ns: int | None
    children: list[Child]


class _Manifest(msgspec.Struct):
    id: str
    state: str
    started_ns: int
    ended_ns: int = 0
    events: int = 0
    lost: int = 0
    bytes: int = 0


type Models = Callable[[], list[Model]]


def sessions(home: Home) -> list[Session]:
    """Return the sessions, newest first; a damaged manifest is left out."""
    found = []
    for folder in _folders(home.sessions):
        try:
            m = msgspec.json.decode((folder / session.MANIFEST).read_bytes(), type=_Manifest)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        is_ended = m.state != "recording"  # else its recorder may have been killed
        said = m.state if is_ended else session.state(folder)
        found.append(Session(m.id, said, m.started_ns, m.ended_ns, m.events, m.lost, m.bytes))
    return found


def runs(home: Home) -> list[Run]:
    """Return the training runs, by name, last first."""
    return [
        Run(
            folder.name,
            folder.stat().st_mtime_ns,
            sorted(c.name for c in (folder / "checkpoints").glob("*") if c.is_dir()),
        )
        for folder in _folders(home.runs)
    ]


def grids(home: Home, own: GridConfig) -> list[Grid]:
    """Return the grids of this home that run, and the gateway's own whether it does or not."""
    found = []
    states = {state.name: state for state in running(home)}
    for name in sorted({own.name, *states}):
        state = states.get(name)
        ours = name == own.name
        found.append(
            Grid(
                name=name,
                strategy_id=own.node.strategy_id if ours or state is None else state.strategy_id,
                venue=own.node.venue if ours else "",
                mode=("live" if own.node.is_live else "paper") if ours else "",
                running=state is not None,
                started_ns=state.started_ns if state else None,
                children=[
                    Child(c.name, c.pid, c.phase, c.restarts)
                    for c in (state.children if state else ())
                ],
            )
        )
    return found


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted((p for p in root.iterdir() if p.is_dir()), reverse=True)[:_MOST]
