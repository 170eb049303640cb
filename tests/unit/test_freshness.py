from hypothesis import given
from hypothesis import strategies as st

from grid.freshness import LAG_NS, STALE_NS, Freshness

BEAT_NS = 500_000_000


def test_source_is_stale_after_three_heartbeats_of_silence_until_one_comes() -> None:
    fresh = Freshness(0)
    fresh.passed(STALE_NS)
    assert fresh.state == "fresh"
    fresh.heard(STALE_NS + 1)
    assert fresh.state == "stale"
    fresh.heard(STALE_NS + 2)
    assert fresh.state == "stale"
    fresh.beat(1.0, STALE_NS + 3)
    assert fresh.state == "fresh"


def test_reader_that_falls_behind_lags_until_it_has_caught_up() -> None:
    fresh = Freshness(0)
    fresh.beat(10.0, 0)
    fresh.beat(10.5, BEAT_NS + LAG_NS - 1)
    assert fresh.state == "fresh"
    fresh.beat(11.0, 2 * BEAT_NS + LAG_NS + 1_000_000_000)
    assert fresh.state == "lagging"
    fresh.beat(13.0, 6 * BEAT_NS + LAG_NS // 2)
    assert fresh.state == "lagging"  # not the limit, but the present
    fresh.beat(13.5, 7 * BEAT_NS)
    assert fresh.state == "fresh"


@given(
    st.lists(st.integers(0, LAG_NS // 2), min_size=1, max_size=100), st.integers(-(10**18), 10**18)
)
def test_jitter_below_the_limit_is_no_lag_whatever_the_clocks_show(
    delays: list[int], offset_ns: int
) -> None:
    fresh = Freshness(offset_ns)
    for i, delay in enumerate(delays):
        fresh.beat(i * BEAT_NS / 1e9, offset_ns + i * BEAT_NS + delay)
        assert fresh.state != "lagging"
