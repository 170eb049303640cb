"""A model server for Prometheus, in its text format. Pure."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from agents.serving.stats import BOUNDS_S
from grid.serving import wire

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(listing: wire.Listing) -> str:
    """Return the page."""
    return "\n".join(_lines(listing)) + "\n"


def _lines(listing: wire.Listing) -> Iterator[str]:
    versions = [
        ({"model": m.name, "version": v.version, "digest": v.digest}, m, v.stats)
        for m in listing.models
        for v in m.versions
    ]
    yield from _head("argonaut_serving_ready", "gauge", "1 while a version answers.")
    for labels, model, _ in versions:
        yield _line("argonaut_serving_ready", labels, float(model.workers))
    yield from _head("argonaut_serving_waiting", "gauge", "Requests in the queue of a version.")
    for labels, _, stats in versions:
        yield _line("argonaut_serving_waiting", labels, stats.waiting)
    name = "argonaut_serving_requests_total"
    yield from _head(name, "counter", "Requests by what became of them: ok, or why not.")
    for labels, _, stats in versions:
        for outcome, count in sorted(stats.outcomes.items()):
            yield _line(name, {**labels, "outcome": outcome}, count)
    for name, what in (
        ("batches", "Runs of a network."),
        ("rows", "Rows through a network."),
        ("queue_s", "Time in the queue, over all requests."),
        ("run_s", "Time in the network, over all batches."),
    ):
        full = f"argonaut_serving_{name.replace('_s', '_seconds')}_total"
        yield from _head(full, "counter", what)
        for labels, _, stats in versions:
            yield _line(full, labels, getattr(stats, name))
    name = "argonaut_serving_seconds"
    yield from _head(name, "histogram", "From the arrival of a request to its reply.")
    for labels, _, stats in versions:
        if not stats.buckets:
            continue
        ends = [f"{bound:g}" for bound in BOUNDS_S] + ["+Inf"]
        for end, count in zip(ends, accumulate(stats.buckets), strict=True):
            yield _line(f"{name}_bucket", {**labels, "le": end}, count)
        yield _line(f"{name}_count", labels, sum(stats.buckets))
        yield _line(f"{name}_sum", labels, stats.total_s)
    name = "argonaut_serving_other_total"
    yield from _head(name, "counter", "What no version counts, by name.")
    for what, count in sorted(listing.counts.items()):
        yield _line(name, {"what": what}, count)


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    said = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{said}}} {value!r}"
