"""What is so, over REST: lists of rows, newest first, in pages."""

import time
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from grid.gateway import disk, rows
from grid.gateway.desk import AtDesk, Reader
from grid.gateway.door import TICKET_S
from grid.gateway.paging import Cursor, Limit, Page, numbered, page
from grid.gateway.problem import Refusal, answers

router: Final = APIRouter(prefix="/api/v1", tags=["views"])

_WHO: Final = answers(400, 401, 403, 422, 429)
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$"

Strategy = Annotated[
    str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,39})?$", description="of this one alone")
]
TopicName = Annotated[str, Query(pattern=r"^[ -~]{1,200}$", description="as in md.X.SIM.quote")]


class Health(BaseModel):
    """The process works."""

    status: Literal["ok"]
    uptime_s: float
    version: str
    feed: str


class Ready(BaseModel):
    """Whether the grid can be seen whole, and asked."""

    ready: bool
    broker: bool
    node: bool
    caught_up: bool


class Who(BaseModel):
    """The key that came."""

    name: str
    scopes: list[str]
    open: bool
    mode: str


class Ticket(BaseModel):
    """Lets a WebSocket in, once."""

    ticket: str
    expires_s: float


def _of(found: Iterable[Any], strategy_id: str) -> list[Any]:
    return [row for row in found if not strategy_id or row.strategy_id == strategy_id]


@router.get("/health", response_model=Health, summary="Whether the process works")
async def health(desk: AtDesk) -> Any:
    """Answer while it does; no key is needed."""
    return {
        "status": "ok",
        "uptime_s": time.monotonic() - desk.started_s,
        "version": desk.version,
        "feed": desk.listener.hub.feed,
    }


@router.get(
    "/ready",
    response_model=Ready,
    summary="Whether the grid can be seen and asked",
    responses={503: {"model": Ready, "description": "Not ready"}},
)
async def ready(desk: AtDesk) -> Any:
    """Answer 200 if broker and node are heard, and their past is here; no key is needed."""
    now_ns, listener = time.time_ns(), desk.listener
    with listener.lock:
        broker, node = (listener.state.presence.has(role, now_ns) for role in ("broker", "node"))
    found = {"broker": broker, "node": node, "caught_up": listener.caught_up}
    is_ready = all(found.values())
    return JSONResponse({"ready": is_ready, **found}, 200 if is_ready else 503)


@router.get("/whoami", response_model=Who, responses=_WHO, summary="The key that came")
async def whoami(key: Reader, desk: AtDesk) -> Any:
    """Return its name and scopes."""
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        "open": desk.door.is_open,
        "mode": desk.door.mode,
    }


@router.post(
    "/ws-ticket",
    status_code=201,
    response_model=Ticket,
    responses=answers(401, 403, 429),
    summary="A ticket for the WebSocket of a browser",
)
async def ws_ticket(key: Reader, desk: AtDesk) -> Any:
    """Return a word for `/ws?ticket=`, good once."""
    return {"ticket": desk.door.ticket(key), "expires_s": TICKET_S}


@router.get("/grids", response_model=list[disk.Grid], responses=_WHO)
def grids(key: Reader, desk: AtDesk) -> Any:
    """Return the grids of this home folder."""
    return disk.grids(desk.home, desk.config)


@router.get("/account", response_model=list[rows.Account], responses=_WHO)
async def account(key: Reader, desk: AtDesk) -> Any:
    """Return the ledger of each strategy."""
    with desk.listener.lock:
        return list(desk.listener.state.accounts.values())


@router.get("/positions", response_model=list[rows.Position], responses=_WHO)
async def positions(key: Reader, desk: AtDesk) -> Any:
    """Return what each strategy holds."""
    with desk.listener.lock:
        return list(desk.listener.state.positions.values())


@router.get("/equity", response_model=Page[rows.Point], responses=_WHO)
async def equity(
    key: Reader,
    desk: AtDesk,
    strategy_id: Strategy = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Any:
    """Return equity at each decision."""
    with desk.listener.lock:
        points = desk.listener.state.points.get(strategy_id or desk.config.node.strategy_id, ())
        return page(reversed(points), limit, cursor)


@router.get("/market/topics", response_model=list[rows.Topic], responses=_WHO)
async def topics(key: Reader, desk: AtDesk) -> Any:
    """Return the market topics, each with its newest event."""
    with desk.listener.lock:
        newest = [kept[-1] for _, kept in sorted(desk.listener.state.market.items())]
    return [rows.Topic(e.topic, str(e.data.get("instrument_id", "")), e.type, e) for e in newest]


@router.get("/market", response_model=Page[rows.Event], responses=_WHO)
async def market(
    topic: TopicName, key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = ""
) -> Any:
    """Return the events of a market topic."""
    with desk.listener.lock:
        return page(reversed(desk.listener.state.market.get(topic, ())), limit, cursor)


@router.get("/strategies", response_model=list[rows.Strategy], responses=_WHO)
async def strategies(key: Reader, desk: AtDesk) -> Any:
    """Return who trades what, and whether it is halted."""
    with desk.listener.lock:
        return list(desk.listener.state.strategies.values())


@router.get("/agents", response_model=list[rows.Agent], responses=_WHO)
async def agents(key: Reader, desk: AtDesk) -> Any:
    """Return the agents, their roles, and what became of their answers."""
    with desk.listener.lock:
        return desk.listener.state.agents_now(time.time_ns())


@router.get("/decisions", response_model=Page[rows.Decision], responses=_WHO)
async def decisions(
    key: Reader,
    desk: AtDesk,
    strategy_id: Strategy = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Any:
    """Return the questions of the strategy, and how they ended."""
    with desk.listener.lock:
        found = reversed(desk.listener.state.decisions.values())
        return page(_of(found, strategy_id), limit, cursor)


@router.get("/orders", response_model=Page[rows.Order], responses=_WHO, tags=["orders"])
async def orders(
    key: Reader,
    desk: AtDesk,
    status: Annotated[Literal["open", "closed", "all"], Query()] = "all",
    strategy_id: Strategy = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Any:
    """Return the orders, those of people among them."""
    with desk.listener.lock:
        found = _of(reversed(desk.listener.state.orders.values()), strategy_id)
        wanted = [o for o in found if status == "all" or o.open == (status == "open")]
        return page(wanted, limit, cursor)


@router.get(
    "/orders/{client_order_id}",
    response_model=rows.Order,
    responses=answers(400, 401, 403, 404, 422, 429),
    tags=["orders"],
)
async def order(
    client_order_id: Annotated[str, Path(pattern=_NAME)], key: Reader, desk: AtDesk
) -> Any:
    """Return one order."""
    with desk.listener.lock:
        found = desk.listener.state.orders.get(client_order_id)
    if found is None:
        raise Refusal(404, f"no order {client_order_id!r} is known")
    return found


@router.get("/fills", response_model=Page[rows.Fill], responses=_WHO)
async def fills(
    key: Reader,
    desk: AtDesk,
    strategy_id: Strategy = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Any:
    """Return the fills."""
    with desk.listener.lock:
        return page(_of(reversed(desk.listener.state.fills), strategy_id), limit, cursor)


@router.get("/control", response_model=Page[rows.Control], responses=_WHO, tags=["control"])
async def control(key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Return what people and limits did."""
    with desk.listener.lock:
        return page(reversed(desk.listener.state.control), limit, cursor)


@router.get("/processes", response_model=list[rows.Process], responses=_WHO)
async def processes(key: Reader, desk: AtDesk) -> Any:
    """Return the processes of the grid, by their heartbeats."""
    with desk.listener.lock:
        return desk.listener.state.presence.rows(time.time_ns())


@router.get("/gaps", response_model=Page[rows.Gap], responses=_WHO)
async def gaps(key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Return what this gateway missed and nobody had any more."""
    with desk.listener.lock:
        return page(reversed(desk.listener.state.gaps), limit, cursor)


@router.get("/sessions", response_model=Page[disk.Session], responses=_WHO)
def sessions(key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Return the recorded sessions."""
    return numbered(disk.sessions(desk.home), limit, cursor)


@router.get("/runs", response_model=Page[disk.Run], responses=_WHO)
def runs(key: Reader, desk: AtDesk, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Return the training runs."""
    return numbered(disk.runs(desk.home), limit, cursor)


@router.get("/models", response_model=list[disk.Model], responses=_WHO)
def models(key: Reader, desk: AtDesk) -> Any:
    """Return the names in the registry of checkpoints."""
    return desk.models()
