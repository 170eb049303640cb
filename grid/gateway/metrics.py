"""Every process of the grid for Prometheus, from its heartbeats, in its text format. Pure.

Heartbeats mix what only grows with what goes up and down, so all their counters are gauges here;
`rate` is right for those that only grow, whatever Prometheus calls them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from grid.gateway.state import State

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

type Sample = tuple[Mapping[str, str], float]


def render(state: State, own: Mapping[str, float], now_ns: int) -> str:
    """Return the page.

    Args:
        state: of the grid.
        own: the gateway's own counters.
        now_ns: UNIX ns.
    """
    return "".join(line for metric in _metrics(state, own, now_ns) for line in _lines(*metric))


def _metrics(
    state: State, own: Mapping[str, float], now_ns: int
) -> Iterator[tuple[str, str, str, list[Sample]]]:
    found = state.presence.rows(now_ns)
    labels = [{"process": p.name, "role": p.role} for p in found]
    pairs = list(zip(labels, found, strict=True))
    yield (
        "argonaut_process_up", "gauge", "1 while the process beats.",
        [(label, float(p.alive)) for label, p in pairs],
    )  # fmt: skip
    yield (
        "argonaut_process_uptime_seconds", "gauge", "Since the process began to beat.",
        [(label, p.uptime_s) for label, p in pairs],
    )  # fmt: skip
    yield (
        "argonaut_process_beat_age_seconds", "gauge", "Since the last heartbeat.",
        [(label, (now_ns - p.last_beat_ns) / 1e9) for label, p in pairs],
    )  # fmt: skip
    yield (
        "argonaut_process_state", "gauge", "1 for the state that the process is in.",
        [({**label, "state": p.state}, 1.0) for label, p in pairs],
    )  # fmt: skip
    yield (
        "argonaut_process_counter", "gauge", "What the process counts, by name.",
        [
            ({**label, "counter": name}, value)
            for label, p in pairs
            for name, value in sorted(p.counters.items())
        ],
    )  # fmt: skip
    yield (
        "argonaut_stream_sequence", "counter", "Last sequence published on a topic.",
        [
            ({**label, "topic": topic}, float(seq))
            for label, p in pairs
            for topic, seq in sorted(p.streams.items())
        ],
    )  # fmt: skip
    for name, what in (
        ("equity", "Cash and position at the last mark, in account currency."),
        ("cash", "In account currency."),
        ("drawdown", "Equity lost since its highest, as a share of that."),
        ("position_qty", "Signed, in units."),
        ("mark_px", "Price that positions are valued at."),
        ("open_orders", "Orders neither filled nor closed."),
    ):
        yield (
            f"argonaut_{name}", "gauge", what,
            [({"strategy_id": a.strategy_id}, getattr(a, name)) for a in state.accounts.values()],
        )  # fmt: skip
    yield (
        "argonaut_halted", "gauge", "1 while no action is carried out.",
        [({"strategy_id": s.strategy_id}, float(s.halted)) for s in state.strategies.values()],
    )  # fmt: skip
    yield (
        "argonaut_decision_latency_seconds", "gauge", "Of an agent's last answer.",
        [
            ({"strategy_id": a.strategy_id, "agent_id": a.agent_id}, a.latency_us / 1e6)
            for a in state.agents.values()
            if a.latency_us is not None
        ],
    )  # fmt: skip
    for name, value in sorted(own.items()):
        yield f"argonaut_gateway_{name}", "gauge", f"Of the gateway: {name}.", [({}, value)]


def _lines(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {what}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{said}}} {value!r}\n" if said else f"{name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
