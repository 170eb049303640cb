"""Recorded sessions over REST: what was so at a time, and rows of a span of time, oldest first."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from grid.errors import ArgonautError
from grid.gateway import played, rows
from grid.gateway.desk import AtDesk, Desk, Reader
from grid.gateway.played import Count, Snapshot, Timed, TopicOf, between
from grid.gateway.problem import Refusal, answers
from grid.gateway.recording import Recording

router: Final = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

_OF_ONE: Final = answers(400, 401, 403, 404, 409, 422, 429)
_FAR_NS: Final = 2**53 - 1  # what every reader of JSON can hold

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
From = Annotated[int, Query(ge=0, le=_FAR_NS, description="ns since the recording began")]
Until = Annotated[
    int | None, Query(ge=0, le=_FAR_NS, description="not included; all that comes without it")
]
Rows = Annotated[int, Query(ge=1, le=2_000, description="rows of a page")]
After = Annotated[int, Query(ge=0, le=_FAR_NS, description="`next` of the page before; 0 at first")]
TopicName = Annotated[str, Query(pattern=r"^[ -~]{1,200}$", description="as in md.X.SIM.quote")]


@dataclass
class Wish:
    """Which rows of a list are wanted."""

    from_ns: From = 0
    until_ns: Until = None
    limit: Rows = 500
    cursor: After = 0


Want = Annotated[Wish, Depends()]


class Span[Row](BaseModel):
    """Rows of a span of time, oldest first; `next` goes on behind them, null at the end."""

    items: list[Timed[Row]]
    next: int | None


class Overview(BaseModel):
    """A session that was read, or how far it was; then the rest is not there yet.

    `state` is `complete`, still `recording`, `interrupted` by a crash, or `damaged`, and why;
    `topic` is the market topic of the strategy's instrument that a chart shows; `thinned` says
    what the lists leave out of a long session, a sentence each.
    """

    id: str
    state: str
    ready: bool
    events: int
    began_ns: int = 0
    t_ns: int = 0
    strategy_id: str = ""
    instrument_id: str = ""
    venue: str = ""
    topic: str = ""
    topics: list[TopicOf] = []
    counts: dict[str, Count] = {}
    lost: int = 0
    damage: str = ""
    thinned: list[str] = []


@router.get("/{id}", response_model=Overview, responses=_OF_ONE)
def session(id: Id, key: Reader, desk: AtDesk) -> Any:
    """Return what a session holds; a long one is read meanwhile, and `ready` says when it was."""
    found, state = _taken(desk, id), desk.shelf.state(id)
    if isinstance(found, int):
        return Overview(id=id, state=state, ready=False, events=found)
    strategy = found.moments[-1].row.strategy if found.moments else None
    return Overview(
        id=id,
        state=state,
        ready=True,
        events=found.events,
        began_ns=found.began_ns,
        t_ns=found.t_ns,
        strategy_id=found.strategy_id,
        instrument_id=strategy.instrument_id if strategy else "",
        venue=strategy.venue if strategy else "",
        topic=found.topic,
        topics=list(found.topics.values()),
        counts=found.counts,
        lost=found.lost,
        damage=found.damage,
        thinned=list(thinned(found)),
    )


@router.get("/{id}/at", response_model=Snapshot, responses=_OF_ONE)
def at(id: Id, key: Reader, desk: AtDesk, t_ns: From = 0) -> Any:
    """Return account, position, price, decision, fills as they were at a time of the session."""
    return _read(desk, id).at(t_ns)


@router.get("/{id}/market", response_model=Span[played.Candle], responses=_OF_ONE)
def market(
    id: Id,
    topic: TopicName,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return candles of a market topic; one is an event, or several of a long session."""
    return _span(_read(desk, id).candles.get(topic, []), wish)


@router.get("/{id}/moments", response_model=Span[played.Moment], responses=_OF_ONE)
def moments(
    id: Id,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return strategy, account and position after each decision, fill and intervention."""
    return _span(_read(desk, id).moments, wish)


@router.get("/{id}/decisions", response_model=Span[played.Ended], responses=_OF_ONE)
def decisions(
    id: Id,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return the decisions, each with when and how it ended."""
    return _span(_read(desk, id).decisions, wish)


@router.get("/{id}/fills", response_model=Span[rows.Fill], responses=_OF_ONE)
def fills(
    id: Id,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return the fills."""
    return _span(_read(desk, id).fills, wish)


@router.get("/{id}/orders", response_model=Span[rows.Order], responses=_OF_ONE)
def orders(
    id: Id,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return each change of an order: the whole order, as it was then."""
    return _span(_read(desk, id).orders, wish)


@router.get("/{id}/control", response_model=Span[rows.Control], responses=_OF_ONE)
def control(
    id: Id,
    key: Reader,
    desk: AtDesk,
    wish: Want,
) -> Any:
    """Return what people and limits did."""
    return _span(_read(desk, id).control, wish)


def thinned(found: Recording) -> list[str]:
    """Say what the lists of a recording leave out, a sentence each."""
    said = [
        f"{topic.events:,} events of {topic.topic} are {topic.candles:,} candles"
        for topic in found.topics.values()
        if topic.every > 1
    ]
    if found.every > 1:
        count = found.counts["decisions"]
        said.append(f"of {count.recorded:,} decisions one in {found.every} is told")
    for name in ("fills", "orders", "control"):
        count = found.counts[name]
        if count.told < count.recorded:
            what = {"orders": "changes of orders", "control": "interventions"}.get(name, name)
            said.append(f"of {count.recorded:,} {what} the first {count.told:,} are told")
    return said


def _taken(desk: Desk, name: str) -> Recording | int:
    if not desk.shelf.has(name):
        raise Refusal(404, f"no session {name!r} in this home folder")
    try:
        return desk.shelf.take(name)
    except ArgonautError as e:
        raise Refusal(409, str(e)) from e


def _read(desk: Desk, name: str) -> Recording:
    found = _taken(desk, name)
    if isinstance(found, int):
        raise Refusal(409, f"{name} is being read, {found:,} events so far: ask again")
    return found


def _span(found: list[Any], wish: Wish) -> dict[str, Any]:
    items, after = between(found, wish.from_ns, wish.until_ns, wish.cursor, wish.limit)
    return {"items": items, "next": after}
