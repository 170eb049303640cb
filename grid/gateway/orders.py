"""Manual orders, halt, resume and flatten over REST: to the strategy, under the node's limits."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from grid import wire
from grid.errors import BusError
from grid.gateway.asking import Unsent
from grid.gateway.desk import AtDesk, Desk, Trader, client_order_id
from grid.gateway.problem import Refusal, answers

router: Final = APIRouter(prefix="/api/v1", tags=["orders"])

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$"
_FOR_ANOTHER: Final = "this idempotency key was used for another order"
_ASKED: Final = answers(400, 401, 403, 404, 409, 422, 429, 503, 504)

OrderId = Annotated[str, Path(pattern=_NAME, description="client order id")]
StrategyId = Annotated[str, Path(pattern=_NAME)]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="of your choice; the same one is never carried out twice",
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class _NewOrder(_Body):
    side: Literal["BUY", "SELL"]
    qty: Annotated[float, Field(gt=0, le=1e15, description="whole lots")]
    strategy_id: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,39})?$")] = ""
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f]*$")] = ""


class MarketOrder(_NewOrder):
    """At the market."""

    type: Literal["market"]


class LimitOrder(_NewOrder):
    """At a price or better; good till canceled."""

    type: Literal["limit"]
    limit_px: Annotated[float, Field(gt=0, le=1e15, description="whole ticks")]


class Reason(_Body):
    """Why, for the audit log."""

    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f]*$")] = ""


class Ordered(BaseModel):
    """What became of a request; how the order goes on is told by `GET`."""

    client_order_id: str
    status: Literal["accepted", "duplicate"]
    reason: str


class Controlled(BaseModel):
    """What is so from now on."""

    state: Literal["trading", "halted"]
    done: bool
    reason: str
    position_qty: float
    client_order_id: str | None


@router.post(
    "/orders", status_code=202, response_model=Ordered, responses=_ASKED, summary="Order by hand"
)
async def place(
    body: Annotated[MarketOrder | LimitOrder, Field(discriminator="type")],
    idempotency_key: IdempotencyKey,
    key: Trader,
    desk: AtDesk,
    response: Response,
) -> Ordered:
    """Send an order to the strategy, which judges it as it judges an agent's."""
    strategy_id = _strategy(desk, body.strategy_id)
    name = client_order_id(key, idempotency_key)
    limit_px = body.limit_px if isinstance(body, LimitOrder) else 0.0
    asked = wire.ManualOrder(
        strategy_id, name, key.name, body.side, body.qty, limit_px, body.reason
    )
    with desk.listener.lock:
        known = desk.listener.state.manual.get(name)
    if known is not None:
        reply = _again(asked, known)
    else:
        reply = await _ask(desk, asked)
    if reply.status == "refused":
        taken = "used for another order" in reply.reason
        raise Refusal(409, _FOR_ANOTHER if taken else reply.reason)
    response.headers["Location"] = f"/api/v1/orders/{name}"
    return Ordered(client_order_id=name, status=reply.status, reason=reply.reason)


@router.delete(
    "/orders/{client_order_id}",
    status_code=202,
    response_model=Ordered,
    responses=_ASKED,
    summary="Take a manual order back",
)
async def cancel(client_order_id: OrderId, key: Trader, desk: AtDesk) -> Ordered:
    """Ask the strategy to cancel what is open of a manual order."""
    with desk.listener.lock:
        order = desk.listener.state.orders.get(client_order_id)
    if order is None:
        raise Refusal(404, f"no order {client_order_id!r} is known")
    asked = wire.CancelManual(order.strategy_id, client_order_id, key.name)
    reply = await _ask(desk, asked)
    if reply.status == "refused":
        raise Refusal(409, reply.reason)
    return Ordered(client_order_id=client_order_id, status="accepted", reason=reply.reason)


def _control(verb: Literal["halt", "resume", "flatten"], what: str) -> None:
    async def control(
        strategy_id: StrategyId, body: Reason, key: Trader, desk: AtDesk
    ) -> Controlled:
        name = _strategy(desk, strategy_id)
        try:
            reply = await desk.asking.control(verb, name, key.name, body.reason)
        except BusError as e:
            raise _unanswered(e) from e
        if not isinstance(reply, wire.ControlReply):
            raise Refusal(503, f"the strategy answered with {type(reply).__name__}")
        return Controlled(
            state=reply.state,
            done=reply.done,
            reason=reply.reason,
            position_qty=reply.position_qty,
            client_order_id=reply.client_order_id or None,
        )

    router.add_api_route(
        f"/strategies/{{strategy_id}}/{verb}",
        control,
        methods=["POST"],
        response_model=Controlled,
        responses=answers(400, 401, 403, 404, 422, 429, 503, 504),
        summary=what,
        name=verb,
        operation_id=verb,
        tags=["control"],
    )


_control("halt", "Carry out no action from now on")
_control("resume", "Go on after a halt")
_control("flatten", "Close the position, and halt")


async def _ask(desk: Desk, asked: wire.ByHand) -> wire.ManualReply:
    try:
        reply = await desk.asking.ask(asked)
    except BusError as e:
        raise _unanswered(e) from e
    if not isinstance(reply, wire.ManualReply):
        raise Refusal(503, f"the strategy answered with {type(reply).__name__}")
    return reply


def _again(asked: wire.ManualOrder, known: wire.Manual) -> wire.ManualReply:
    """Answer from what the grid has published: a node that was started anew does not know it."""
    same = (asked.side, asked.qty, asked.limit_px) == (known.side, known.qty, known.limit_px)
    if not same:
        return wire.ManualReply(asked.client_order_id, "refused", "used for another order")
    if not known.done:
        return wire.ManualReply(asked.client_order_id, "refused", known.reason)
    return wire.ManualReply(asked.client_order_id, "duplicate", "ordered before")


def _unanswered(e: BusError) -> Refusal:
    if isinstance(e, Unsent):
        return Refusal(503, f"nothing was sent: {e}", {"Retry-After": "1"})
    return Refusal(504, f"{e}; ask again with the same key, it is carried out once")


def _strategy(desk: Desk, name: str) -> str:
    own = desk.config.node.strategy_id
    if name and name != own:
        raise Refusal(404, f"strategy: expected {own!r}, found {name!r}")
    return own
