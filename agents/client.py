"""A client of a running grid, over its gateway: look, order on paper, halt; sync and async.

    grid = Grid("http://127.0.0.1:8180")
    grid.positions()
    grid.buy(1_000, limit_px=1.1)
    for event in grid.events("fills"): ...

What is asked for comes as dataclasses of `grid.gateway.rows`; `frame` makes a pandas table of them.
"""

import asyncio
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from grid.errors import AccessError, BusError, RefusedError
from grid.gateway import rows

if TYPE_CHECKING:
    import pandas as pd

type Channel = Literal["market", "decisions", "actions", "orders", "fills", "control", "status"]
type Side = Literal["BUY", "SELL"]

PAGE: Final = 500
TRIES: Final = 3  # of an order that got no answer: its key has it carried out once


class Placed(msgspec.Struct, frozen=True):
    """What the strategy said to an order, or to a cancel."""

    client_order_id: str
    status: Literal["accepted", "duplicate"]
    reason: str


class Controlled(msgspec.Struct, frozen=True):
    """What is so after a halt, a resume or a flatten."""

    state: Literal["trading", "halted"]
    done: bool
    reason: str
    position_qty: float
    client_order_id: str | None = None


class Grid:
    """A running grid.

    Every method may raise `BusError` where the gateway does not answer, `AccessError` where the key
    does not give the right, and `RefusedError` where the grid says no.

    Args:
        url: of the gateway.
        key: of `gateway keys new`; none for an open gateway on this machine.
        timeout_s: for each request.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8180", key: str = "", timeout_s: float = 10.0
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"X-API-Key": key} if key else {}
        self._timeout_s = timeout_s

    def ready(self) -> bool:
        """Return whether the grid can be seen and asked."""
        try:
            return bool(self._ask("GET", "ready")["ready"])
        except (BusError, RefusedError):
            return False

    def status(self) -> list[rows.Process]:
        """Return the processes, by their heartbeats."""
        return self._list("processes", rows.Process)

    def account(self) -> list[rows.Account]:
        """Return the ledger of each strategy."""
        return self._list("account", rows.Account)

    def positions(self) -> list[rows.Position]:
        """Return what each strategy holds."""
        return self._list("positions", rows.Position)

    def agents(self) -> list[rows.Agent]:
        """Return the agents that were welcomed."""
        return self._list("agents", rows.Agent)

    def equity(self, n: int = PAGE) -> list[rows.Point]:
        """Return equity and position at the last `n` decisions, newest first."""
        return self._list("equity", rows.Point, n)

    def decisions(self, n: int = PAGE) -> list[rows.Decision]:
        """Return the last `n` decisions, newest first."""
        return self._list("decisions", rows.Decision, n)

    def orders(self, n: int = PAGE, status: Literal["", "open", "closed"] = "") -> list[rows.Order]:
        """Return the last `n` orders, newest first."""
        return self._list("orders", rows.Order, n, **({"status": status} if status else {}))

    def order(self, client_order_id: str) -> rows.Order:
        """Return one order."""
        return msgspec.convert(self._ask("GET", f"orders/{quote(client_order_id)}"), rows.Order)

    def fills(self, n: int = PAGE) -> list[rows.Fill]:
        """Return the last `n` fills, newest first."""
        return self._list("fills", rows.Fill, n)

    def buy(self, qty: float, limit_px: float | None = None, **how: str) -> Placed:
        """Place an order to buy: see `place`."""
        return self.place("BUY", qty, limit_px, **how)

    def sell(self, qty: float, limit_px: float | None = None, **how: str) -> Placed:
        """Place an order to sell: see `place`."""
        return self.place("SELL", qty, limit_px, **how)

    def place(
        self,
        side: Side,
        qty: float,
        limit_px: float | None = None,
        *,
        reason: str = "",
        strategy_id: str = "",
        key: str = "",
    ) -> Placed:
        """Place an order, which the strategy judges as it judges an agent's.

        Args:
            side: BUY or SELL.
            qty: in whole lots.
            limit_px: at this price or better; None at the market.
            reason: for the audit log.
            strategy_id: by default the grid's.
            key: of your choice, for one order: it is never carried out twice.
        """
        body: dict[str, Any] = {"type": "market", "side": side, "qty": qty, "reason": reason}
        if limit_px is not None:
            body |= {"type": "limit", "limit_px": limit_px}
        if strategy_id:
            body["strategy_id"] = strategy_id
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        for left in reversed(range(TRIES)):
            try:
                return msgspec.convert(self._ask("POST", "orders", body, headers), Placed)
            except BusError:
                if not left:
                    raise
        raise AssertionError

    def cancel(self, client_order_id: str) -> Placed:
        """Take back what is open of a manual order."""
        return msgspec.convert(self._ask("DELETE", f"orders/{quote(client_order_id)}"), Placed)

    def halt(self, reason: str = "", strategy_id: str = "") -> Controlled:
        """Have no action carried out until a person resumes."""
        return self._control("halt", reason, strategy_id)

    def resume(self, reason: str = "", strategy_id: str = "") -> Controlled:
        """End a halt."""
        return self._control("resume", reason, strategy_id)

    def flatten(self, reason: str = "", strategy_id: str = "") -> Controlled:
        """Close the position, and halt."""
        return self._control("flatten", reason, strategy_id)

    def events(self, *channels: Channel, timeout_s: float | None = None) -> Iterator[rows.Event]:
        """Yield events from now on, until none comes for `timeout_s`; needs `websockets`."""
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        try:
            with connect(self._socket_url, additional_headers=self._headers) as socket:
                socket.send(_wish(channels))
                while True:
                    yield from _events(socket.recv(timeout_s))
        except TimeoutError:
            return
        except (OSError, ConnectionClosed) as e:
            raise BusError(f"{self._url}: no events: {e}") from e

    @property
    def _socket_url(self) -> str:
        return f"ws{self._url.removeprefix('http')}/ws"

    def _control(self, verb: str, reason: str, strategy_id: str) -> Controlled:
        if not strategy_id:
            known = self._list("strategies", rows.Strategy)
            if len(known) != 1:
                raise RefusedError(f"{verb}: expected one strategy, found {len(known)}: name it")
            strategy_id = known[0].strategy_id
        path = f"strategies/{quote(strategy_id)}/{verb}"
        return msgspec.convert(self._ask("POST", path, {"reason": reason}), Controlled)

    def _list[Row](self, path: str, kind: type[Row], n: int = 0, **query: str) -> list[Row]:
        """Return a list, or the first `n` rows of one that comes in pages."""
        if not n:
            return msgspec.convert(self._ask("GET", path), list[kind])  # type: ignore[valid-type]
        found: list[Row] = []
        cursor = ""
        while len(found) < n:
            asked = query | {"limit": str(min(PAGE, n - len(found)))}
            page = self._ask(
                "GET", f"{path}?{urlencode(asked | {'cursor': cursor} if cursor else asked)}"
            )
            found += msgspec.convert(page["items"], list[kind])  # type: ignore[valid-type]
            cursor = page["next"]
            if not cursor:
                break
        return found

    def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        request = urllib.request.Request(
            f"{self._url}/api/v1/{path}",
            method=method,
            headers={**self._headers, **(headers or {}), "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            with e:
                raise _refusal(e, f"{method} {path}") from e
        except (OSError, json.JSONDecodeError) as e:
            raise BusError(f"{self._url}: no answer to {method} {path}: {e}") from e


class AsyncGrid:
    """The same for asyncio: each request in a thread, events without one.

    Args:
        url: of the gateway.
        key: as of `Grid`.
        timeout_s: for each request.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8180", key: str = "", timeout_s: float = 10.0
    ) -> None:
        self.sync = Grid(url, key, timeout_s)

    async def status(self) -> list[rows.Process]:
        """Return the processes, by their heartbeats."""
        return await asyncio.to_thread(self.sync.status)

    async def account(self) -> list[rows.Account]:
        """Return the ledger of each strategy."""
        return await asyncio.to_thread(self.sync.account)

    async def positions(self) -> list[rows.Position]:
        """Return what each strategy holds."""
        return await asyncio.to_thread(self.sync.positions)

    async def orders(self, n: int = PAGE) -> list[rows.Order]:
        """Return the last `n` orders, newest first."""
        return await asyncio.to_thread(self.sync.orders, n)

    async def fills(self, n: int = PAGE) -> list[rows.Fill]:
        """Return the last `n` fills, newest first."""
        return await asyncio.to_thread(self.sync.fills, n)

    async def place(
        self, side: Side, qty: float, limit_px: float | None = None, *, reason: str = ""
    ) -> Placed:
        """Place an order: see `Grid.place`."""
        return await asyncio.to_thread(self.sync.place, side, qty, limit_px, reason=reason)

    async def cancel(self, client_order_id: str) -> Placed:
        """Take back what is open of a manual order."""
        return await asyncio.to_thread(self.sync.cancel, client_order_id)

    async def halt(self, reason: str = "") -> Controlled:
        """Have no action carried out until a person resumes."""
        return await asyncio.to_thread(self.sync.halt, reason)

    async def resume(self, reason: str = "") -> Controlled:
        """End a halt."""
        return await asyncio.to_thread(self.sync.resume, reason)

    async def flatten(self, reason: str = "") -> Controlled:
        """Close the position, and halt."""
        return await asyncio.to_thread(self.sync.flatten, reason)

    async def events(self, *channels: Channel) -> AsyncIterator[rows.Event]:
        """Yield events from now on; needs `websockets`."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed

        sync = self.sync
        try:
            async with connect(sync._socket_url, additional_headers=sync._headers) as socket:
                await socket.send(_wish(channels))
                async for message in socket:
                    for event in _events(message):
                        yield event
        except (OSError, ConnectionClosed) as e:
            raise BusError(f"{sync._url}: no events: {e}") from e


def frame(found: Sequence[Any]) -> "pd.DataFrame":
    """Return rows as a table, in the order of time; `ts_event_ns` becomes its index, in UTC."""
    import pandas as pd

    table = pd.DataFrame([asdict(row) for row in found])
    if "ts_event_ns" not in table:
        return table
    table.index = pd.DatetimeIndex(pd.to_datetime(table["ts_event_ns"], utc=True), name="time")
    return table.sort_index(kind="stable")


def _wish(channels: Sequence[Channel]) -> str:
    return json.dumps({"op": "subscribe", "channels": channels})


def _events(message: str | bytes) -> list[rows.Event]:
    return msgspec.convert(json.loads(message).get("events", []), list[rows.Event])


def _refusal(error: urllib.error.HTTPError, what: str) -> Exception:
    try:
        detail = str(json.load(error)["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        detail = error.reason
    if error.code in (401, 403):
        return AccessError(f"{what}: {detail}")
    if error.code == 504:
        return BusError(f"{what}: {detail}")
    return RefusedError(f"{what}: {detail}")
