"""What is said of a process that was looked at for long."""

import pytest

from agents.soak.trend import Bounds, Sample, judge, render, slope_per_min

BOUNDS = Bounds(rss_kb_per_min=1_000.0, fds_per_min=0.5, rss_floor_kb=4_096.0)


def samples(rss_kb=lambda minute: 50_000, fds=lambda minute: 20, minutes=20, name="node", pid=1):
    """A sample each ten seconds."""
    return [
        Sample(
            at_s=10.0 * i,
            process=name,
            pid=pid,
            state="trading",
            rss_kb=round(rss_kb(i / 6)),
            fds=round(fds(i / 6)),
            cpu_s=1.0 * i,
            events_per_s=100.0 if i else None,
            gaps=1.0,
            dropped=2.0,
        )
        for i in range(6 * minutes + 1)
    ]


def test_slope_is_that_of_the_line_through_the_points():
    assert slope_per_min([(0.0, 1.0), (30.0, 2.0), (60.0, 3.0)]) == pytest.approx(2.0)
    assert slope_per_min([(0.0, 5.0), (60.0, 5.0)]) == 0.0
    assert slope_per_min([(1.0, 5.0)]) == slope_per_min([]) == 0.0
    assert slope_per_min([(1.0, 5.0), (1.0, 6.0)]) == 0.0


def test_process_that_stays_as_it_is_grows_by_nothing():
    (trend,) = judge(samples(), BOUNDS)
    assert trend.grows == ""
    assert (trend.rss_kb_per_min, trend.fds_per_min) == (0.0, 0.0)
    assert (trend.events_per_s, trend.cpu_share) == (100.0, 0.1)
    assert (trend.gaps, trend.dropped, trend.restarts) == (1.0, 2.0, 0)


def test_memory_that_grows_beyond_the_bound_is_found():
    (trend,) = judge(samples(rss_kb=lambda minute: 50_000 + 1_500 * minute), BOUNDS)
    assert trend.rss_kb_per_min == pytest.approx(1_500, rel=1e-3)
    assert trend.grows == "memory by 1,500 KB/min, 1,000 allowed"
    (trend,) = judge(samples(rss_kb=lambda minute: 50_000 + 900 * minute), BOUNDS)
    assert trend.grows == ""


def test_descriptors_that_grow_beyond_the_bound_are_found():
    (trend,) = judge(samples(fds=lambda minute: 20 + minute), BOUNDS)
    assert trend.grows == "descriptors by 1.0/min, 0.5 allowed"


def test_growth_while_it_warms_up_is_shown_and_not_judged():
    (trend,) = judge(samples(rss_kb=lambda minute: 50_000 + 9_000 * min(minute, 9.0)), BOUNDS)
    assert trend.grows == ""
    assert trend.rss_kb == (131_000, 131_000)


def test_growth_below_the_floor_is_none_in_a_short_time():
    short = samples(rss_kb=lambda minute: 50_000 + 3_000 * minute, minutes=2)
    assert judge(short, BOUNDS)[0].rss_kb_per_min == pytest.approx(3_000, rel=1e-2)
    assert judge(short, BOUNDS)[0].grows == ""


def test_process_that_came_anew_is_judged_by_its_last_life():
    grew = samples(rss_kb=lambda minute: 50_000 + 5_000 * minute, minutes=10)
    again = [
        Sample(
            **{**{f: getattr(s, f) for f in s.__struct_fields__}, "at_s": s.at_s + 700, "pid": 2}
        )
        for s in samples(minutes=10)
    ]
    (trend,) = judge([*grew, *again], BOUNDS)
    assert (trend.restarts, trend.grows) == (1, "")


def test_table_has_a_line_for_each_process_and_says_the_bounds():
    trends = judge([*samples(), *samples(name="broker")], BOUNDS)
    head, _, first, second = render(trends, 1_200.0, BOUNDS).splitlines()
    assert "after 20.0 min" in head
    assert "1,000 KB/min and 0.5 fds/min" in head
    assert first.split() == [
        "node", "0", "100.0", "1", "2", "10%", "48.8", "48.8", "0", "20", "20", "0.00",
    ]  # fmt: skip
    assert second.startswith("broker")
