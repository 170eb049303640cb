"""Training grids over REST: what runs, how it goes, what was found."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query

from grid.errors import ArgonautError
from grid.gateway import training
from grid.gateway.desk import AtDesk, Desk, Reader
from grid.gateway.paging import Cursor, Limit, Page, numbered
from grid.gateway.problem import Refusal, answers

router: Final = APIRouter(prefix="/api/v1/training", tags=["training"])

_WHO: Final = answers(400, 401, 403, 422, 429)
_OF_ONE: Final = answers(400, 401, 403, 404, 409, 422, 429)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
PhaseName = Annotated[
    Literal["all", "waiting", "running", "done", "pruned", "failed"], Query(description="of trials")
]


@router.get("", response_model=Page[training.TrainingGrid], responses=_WHO)
def grids(key: Reader, desk: AtDesk, limit: Limit = 20, cursor: Cursor = "") -> Any:
    """Return the training grids of this home folder, in short; a damaged one says so."""
    page = numbered(desk.training.names(), limit, cursor)
    return {**page, "items": [_short(desk, name) for name in page["items"]]}


@router.get("/{name}", response_model=training.TrainingDetail, responses=_OF_ONE)
def grid(name: Name, key: Reader, desk: AtDesk) -> Any:
    """Return a training grid: progress, spans, the verdict once there is one."""
    return _asked(desk, name, desk.training.detail)


@router.get("/{name}/trials", response_model=Page[training.TrainingTrial], responses=_OF_ONE)
def trials(
    name: Name,
    key: Reader,
    desk: AtDesk,
    phase: PhaseName = "all",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Any:
    """Return its trials, those that start last first."""
    found = [t for t in _asked(desk, name, desk.training.trials) if phase in ("all", t.phase)]
    return numbered(found[::-1], limit, cursor)


@router.get("/{name}/curves", response_model=Page[training.Curve], responses=_OF_ONE)
def curves(name: Name, key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Return reward and score by steps, a row each trial that has any."""
    found = [c for c in _asked(desk, name, desk.training.curves) if c.reward or c.score]
    return numbered(found[::-1], limit, cursor)


@router.get("/{name}/failures", response_model=Page[training.Failure], responses=_OF_ONE)
def failures(name: Name, key: Reader, desk: AtDesk, limit: Limit = 20, cursor: Cursor = "") -> Any:
    """Return the deaths of its trials with their last log lines."""
    return numbered(_asked(desk, name, desk.training.failures)[::-1], limit, cursor)


def _asked[T](desk: Desk, name: str, ask: Callable[[str], T]) -> T:
    if name not in desk.training.names():
        raise Refusal(404, f"no training grid {name!r} in this home folder")
    try:
        return ask(name)
    except ArgonautError as e:
        raise Refusal(409, str(e)) from e


def _short(desk: Desk, name: str) -> training.TrainingGrid:
    try:
        return desk.training.grid(name)
    except ArgonautError as e:
        return training.TrainingGrid(name, "damaged", str(e), "")
