"""What becomes of a process over time: memory, descriptors, rates, gaps. Pure.

What a process needs grows while it warms up; so the first half of the time is shown and not judged.
Of the second half a line is drawn through each process's memory and descriptors, and its slope is
held to a bound.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What growth is let pass.

    Attributes:
        rss_kb_per_min: of resident memory.
        fds_per_min: of descriptors.
        rss_floor_kb: memory that may come and go; less growth than this in all is none.
    """

    rss_kb_per_min: float = 2_000.0
    fds_per_min: float = 0.5
    rss_floor_kb: float = 4_096.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One process at one moment; rates are since the sample before."""

    at_s: float
    process: str
    pid: int
    state: str
    rss_kb: int
    fds: int
    cpu_s: float
    events_per_s: float | None
    gaps: float
    dropped: float


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one process.

    Attributes:
        process: its name.
        restarts: how often it came anew; only its last life is judged.
        events_per_s: on average, over the samples that have it.
        gaps: holes that it saw, in its last life.
        dropped: events that it dropped, in its last life.
        rss_kb: resident memory at the beginning of the judged time and at its end.
        fds: descriptors, likewise.
        rss_kb_per_min: slope of memory in the judged time.
        fds_per_min: slope of descriptors in the judged time.
        cpu_share: of one core.
        grows: what grows beyond its bound; empty if nothing does.
    """

    process: str
    restarts: int
    events_per_s: float | None
    gaps: float
    dropped: float
    rss_kb: tuple[int, int]
    fds: tuple[int, int]
    rss_kb_per_min: float
    fds_per_min: float
    cpu_share: float
    grows: str = ""


def slope_per_min(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through (seconds, value), per minute."""
    n = len(points)
    if n < 2:
        return 0.0
    mean_s = sum(s for s, _ in points) / n
    mean = sum(v for _, v in points) / n
    spread = sum((s - mean_s) ** 2 for s, _ in points)
    rise = sum((s - mean_s) * (v - mean) for s, v in points)
    return 60.0 * rise / spread if spread else 0.0


def judge(samples: Sequence[Sample], bounds: Bounds) -> list[Trend]:
    """Return what became of each process, in the order in which they first came."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.process, []).append(sample)
    return [_trend(each, bounds) for each in found.values()]


def _trend(samples: Sequence[Sample], bounds: Bounds) -> Trend:
    pids = [s.pid for s in samples]
    life = [s for s in samples if s.pid == pids[-1]]
    middle_s = (life[0].at_s + life[-1].at_s) / 2
    judged = [s for s in life if s.at_s >= middle_s]
    first, last = judged[0], judged[-1]
    rates = [s.events_per_s for s in samples if s.events_per_s is not None]
    rss = slope_per_min([(s.at_s, s.rss_kb) for s in judged])
    fds = slope_per_min([(s.at_s, s.fds) for s in judged])
    minutes = (last.at_s - first.at_s) / 60
    grows = []
    if rss > bounds.rss_kb_per_min and rss * minutes > bounds.rss_floor_kb:
        grows.append(f"memory by {rss:,.0f} KB/min, {bounds.rss_kb_per_min:,.0f} allowed")
    if fds > bounds.fds_per_min and last.fds > first.fds + 1:
        grows.append(f"descriptors by {fds:.1f}/min, {bounds.fds_per_min:g} allowed")
    passed_s = life[-1].at_s - life[0].at_s
    return Trend(
        process=last.process,
        restarts=sum(a != b for a, b in pairwise(pids)),
        events_per_s=sum(rates) / len(rates) if rates else None,
        gaps=last.gaps,
        dropped=last.dropped,
        rss_kb=(first.rss_kb, last.rss_kb),
        fds=(first.fds, last.fds),
        rss_kb_per_min=rss,
        fds_per_min=fds,
        cpu_share=(life[-1].cpu_s - life[0].cpu_s) / passed_s if passed_s else 0.0,
        grows="; ".join(grows),
    )


def render(trends: Sequence[Trend], seconds: float, bounds: Bounds) -> str:
    """Return the final table."""
    lines = [
        f"after {seconds / 60:.1f} min; judged is the second half of each process's life,"
        f" against {bounds.rss_kb_per_min:,.0f} KB/min and {bounds.fds_per_min:g} fds/min",
        f"{'process':<14}{'restarts':>9}{'events/s':>10}{'gaps':>6}{'dropped':>9}{'cpu':>6}"
        f"{'RSS MB':>16}{'KB/min':>9}{'fds':>10}{'fds/min':>9}",
    ]
    for t in trends:
        rate = "-" if t.events_per_s is None else f"{t.events_per_s:,.1f}"
        rss = f"{t.rss_kb[0] / 1024:,.1f} {t.rss_kb[1] / 1024:,.1f}"
        lines.append(
            f"{t.process:<14}{t.restarts:>9}{rate:>10}{t.gaps:>6g}{t.dropped:>9g}"
            f"{t.cpu_share:>6.0%}{rss:>16}{t.rss_kb_per_min:>9,.0f}"
            f"{t.fds[0]:>5}{t.fds[1]:>5}{t.fds_per_min:>9.2f}"
        )
    return "\n".join(lines)


HEAD = f"{'min':>6}  {'process':<14}{'state':<12}{'events/s':>10}{'RSS MB':>9}{'fds':>5}"


def line(s: Sample) -> str:
    """Return a sample as a line below `HEAD`."""
    rate = "-" if s.events_per_s is None else f"{s.events_per_s:,.1f}"
    return (
        f"{s.at_s / 60:>6.2f}  {s.process:<14}{s.state[:11]:<12}{rate:>10}"
        f"{s.rss_kb / 1024:>9,.1f}{s.fds:>5}"
    )
