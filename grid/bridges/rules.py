"""What is worth a message to a person: events and time in, alerts out. Pure.

An alert has a key made of the identity of what it tells, so that it is sent once, whatever is
started again in between.
"""

from collections.abc import Iterable

import msgspec

from grid import wire
from grid.dataset import to_iso

_DAY_NS = 86_400_000_000_000


class Alert(msgspec.Struct, frozen=True):
    """One message: its identity, its title, what it says."""

    key: str
    title: str
    text: str


class Day(msgspec.Struct):
    """What happened in one UTC day, counted in days since 1970."""

    number: int
    fills: int = 0
    bought: float = 0.0
    sold: float = 0.0
    halts: int = 0
    position: float = 0.0


class State(msgspec.Struct):
    """What the rules remember.

    Attributes:
        day: the one that is being summed up; None before the first event.
        agents: name -> epoch, of those that are there.
        missing: name of a process -> (epoch, events) that it says are missing.
    """

    day: Day | None = None
    agents: dict[str, int] = {}
    missing: dict[str, tuple[int, float]] = {}


class Rules:
    """Folds events into alerts.

    Args:
        grid: its name, for the titles.
        state: what is remembered; changed in place.
        now_ns: UNIX ns; agents that are remembered count as heard of now.
        fill_qty: fills of at least so much are told; 0: none.
        silent_s: an agent that is silent for so long is lost.
        summary: whether each day is summed up.
    """

    def __init__(
        self,
        grid: str,
        state: State,
        now_ns: int,
        *,
        fill_qty: float = 0.0,
        silent_s: float = 5.0,
        summary: bool = True,
    ) -> None:
        self.state = state
        self._grid = grid
        self._fill_qty = fill_qty
        self._silent_ns = round(silent_s * 1e9)
        self._summary = summary
        self._heard_ns = dict.fromkeys(state.agents, now_ns)

    def take(self, envelope: wire.Envelope, event: wire.Event, now_ns: int) -> list[Alert]:
        """Take the next event and return what is to be told."""
        if isinstance(event, wire.Heartbeat):
            return list(self._beat(envelope, event, now_ns))
        return [*self.tick(envelope.ts_pub_ns, silence=False), *self._exec(envelope, event)]

    def tick(self, now_ns: int, *, silence: bool = True) -> list[Alert]:
        """Return what the time alone gives rise to."""
        return [*self._new_day(now_ns), *(self._silent(now_ns) if silence else ())]

    def _exec(self, envelope: wire.Envelope, event: wire.Event) -> Iterable[Alert]:
        key = f"{envelope.source}/{envelope.epoch}/{envelope.seq}"
        at = to_iso(envelope.ts_pub_ns)
        day = self.state.day
        assert day is not None
        match event:
            case wire.Halted():
                day.halts += 1
                yield self._alert(
                    f"halted/{key}", "halted", f"by {event.by}: {event.reason or 'no reason'}, {at}"
                )
            case wire.Resumed():
                yield self._alert(f"resumed/{key}", "trades again", f"by {event.by}, {at}")
            case wire.Flattened():
                yield self._alert(
                    f"flattened/{key}",
                    "closes its position",
                    f"by {event.by}: {event.reason}, {at}",
                )
            case wire.TookOver():
                yield self._alert(
                    f"took_over/{key}", "another agent trades",
                    f"{event.agent_id} in place of {event.before}, {at}",
                )  # fmt: skip
            case wire.Fill():
                day.fills += 1
                day.bought += event.qty if event.side == "BUY" else 0.0
                day.sold += event.qty if event.side == "SELL" else 0.0
                day.position = event.position_qty
                if 0.0 < self._fill_qty <= event.qty:
                    yield self._alert(
                        f"fill/{event.strategy_id}/{event.epoch}/{event.trade_id}", "large fill",
                        f"{event.side} {event.qty:,.10g} at {event.px:.10g}, position "
                        f"{event.position_qty:,.10g}, {at}",
                    )  # fmt: skip
            case _:
                pass

    def _beat(self, envelope: wire.Envelope, beat: wire.Heartbeat, now_ns: int) -> Iterable[Alert]:
        name, epoch = beat.name, envelope.epoch
        if beat.role.startswith("agent"):
            if beat.state in ("stopped", "stopping"):
                self.state.agents.pop(name, None)
                self._heard_ns.pop(name, None)
            else:
                self.state.agents[name] = epoch
                self._heard_ns[name] = now_ns
        missing = beat.counters.get("missing", 0.0)
        known_epoch, known = self.state.missing.get(name, (epoch, 0.0))
        if known_epoch != epoch:
            known = 0.0
        if missing > known:
            self.state.missing[name] = (epoch, missing)
            yield self._alert(
                f"gap/{name}/{epoch}/{missing:g}", "events are missing",
                f"{missing - known:,.0f} more in {name}, {to_iso(now_ns)}",
            )  # fmt: skip

    def _silent(self, now_ns: int) -> Iterable[Alert]:
        for name, heard_ns in list(self._heard_ns.items()):
            if now_ns - heard_ns >= self._silent_ns:
                epoch = self.state.agents.pop(name)
                del self._heard_ns[name]
                silent_s = (now_ns - heard_ns) / 1e9
                yield self._alert(
                    f"lost/{name}/{epoch}", "agent lost",
                    f"{name} has been silent for {silent_s:.0f} s, {to_iso(now_ns)}",
                )  # fmt: skip

    def _new_day(self, now_ns: int) -> Iterable[Alert]:
        number = now_ns // _DAY_NS
        day = self.state.day
        if day is None or day.number < number:
            self.state.day = Day(number, position=day.position if day else 0.0)
        if self._summary and day is not None and day.number < number:
            date = to_iso(day.number * _DAY_NS)[:10]
            yield self._alert(
                f"summary/{date}", f"summary of {date}",
                f"{day.fills:,} fills, bought {day.bought:,.10g}, sold {day.sold:,.10g}, position "
                f"{day.position:,.10g}, {day.halts:,} halts",
            )  # fmt: skip

    def _alert(self, key: str, title: str, text: str) -> Alert:
        return Alert(key, f"{self._grid}: {title}", text)
