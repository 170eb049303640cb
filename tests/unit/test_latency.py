"""Latencies: their distributions, and what a session says of its own."""

import msgspec
import numpy as np
import pytest

from grid import wire
from grid.errors import ConfigError, SessionError
from grid.latency import Latency, bounds_ns, latencies_ms, measured, quantile_ns, quantiles
from grid.transcript import Transcript
from grid.venue import Venue
from tests.support.markets import PAIR
from tests.support.runs import SPEC

MS = 1_000_000
SKEWED = Venue(latency_ms=20.0, latency_p99_ms=80.0)


def drawn(venue, seed, n=20_000):
    """Latencies of orders so far apart that none waits for another."""
    latency = Latency(venue, seed)
    return np.array([latency.due_ns(k * 10**12) - k * 10**12 for k in range(1, n + 1)])


def test_fixed_latency_is_the_same_for_all():
    assert set(drawn(Venue(latency_ms=250), 1, 100)) == {250 * MS}
    assert bounds_ns(Venue(latency_ms=0)) == (1, 1)


def test_lognormal_has_the_mean_and_percentile_that_were_asked_for():
    found = drawn(SKEWED, 3) / MS
    assert found.mean() == pytest.approx(20.0, rel=0.02)
    assert np.quantile(found, 0.99) == pytest.approx(80.0, rel=0.05)
    assert np.log(found).std() == pytest.approx(np.log(80 / np.median(found)) / 2.3263, rel=0.05)
    least, longest = bounds_ns(SKEWED)
    assert least <= found.min() * MS
    assert found.max() * MS <= longest
    assert quantile_ns(SKEWED)(0.99) == pytest.approx(80 * MS, rel=1e-9)


def test_same_seed_draws_the_same_and_another_does_not():
    assert drawn(SKEWED, 1, 50).tolist() == drawn(SKEWED, 1, 50).tolist()
    assert drawn(SKEWED, 1, 50).tolist() != drawn(SKEWED, 2, 50).tolist()


def test_order_never_overtakes_the_one_before():
    latency = Latency(SKEWED, 5)
    due = [latency.due_ns(k * MS) for k in range(500)]
    assert (np.diff(due) >= 0).all()
    assert all(at >= k * MS for k, at in enumerate(due))


def test_orders_of_one_decision_arrive_together_if_the_latency_is_fixed():
    latency = Latency(Venue(latency_ms=250), 0)
    assert [latency.due_ns(at * MS) for at in (7, 7, 8)] == [257 * MS, 257 * MS, 258 * MS]


def test_measured_latency_is_drawn_from_its_quantiles():
    venue = Venue(latency_from="run", latency_quantiles_ms=quantiles(range(101)))
    found = drawn(venue, 2) / MS
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx([10, 50, 90], abs=1.5)
    assert bounds_ns(venue) == (1, 100 * MS)


def test_session_tells_the_latencies_of_its_traded_actions():
    info = wire.StrategyInfo(
        "s", 1, *(msgspec.json.encode(x) for x in (SPEC, PAIR, Venue())), 0, {}
    )
    run = Transcript(info)
    account = wire.Account(0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0)
    for seq, status in enumerate(("accepted", "late", "accepted"), start=1):
        asked = wire.Decision("s", 1, seq, 0, "md", 1, 1, account)
        run.take(asked, seq * 100 * MS)
        action = wire.Action("s", 1, seq, "a", 1, seq, 0.0)
        answer = wire.Answer(status, seq, seq)
        run.take(wire.Acted(action, answer, seq * 100 * MS + seq * MS), seq * 100 * MS)
    assert latencies_ms(run) == [1.0, 3.0]


def test_latency_that_cannot_be_is_one_sentence(tmp_path):
    for keys, said in (
        ({"latency_ms": 10, "latency_p99_ms": 9}, "more than a latency_ms of 10"),
        ({"latency_ms": 1, "latency_p99_ms": 20}, "at most 14 times it, found 20"),
        ({"latency_p99_ms": 900, "latency_from": "x"}, "beside a measured"),
        ({"latency_quantiles_ms": (2.0, 1.0)}, "do not fall"),
    ):
        with pytest.raises(ValueError, match=said):
            Venue(**keys)
    with pytest.raises(ConfigError, match=r"expected the quantiles of session 'x'"):
        Latency(Venue(latency_from="x"), 0)
    with pytest.raises(SessionError, match="no session 'x'"):
        measured(Venue(latency_from="x"), tmp_path)
    assert measured(SKEWED, tmp_path) is SKEWED
