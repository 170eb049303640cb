import pytest

from agents.bench import bus


def test_bench_of_the_bus_measures_every_row_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "FANOUTS", {1: 500, 4: 500})
    monkeypatch.setattr(bus, "BATCHED", 1_600)
    monkeypatch.setattr(bus, "ROUNDS", 1)
    monkeypatch.setattr(bus, "LATENCY_EVENTS", 50)
    monkeypatch.setattr(bus, "LATENCY_ROUNDS", 1)
    rows = bus.run()
    assert [row.name for row in rows] == [
        "fanout_1", "fanout_4", "fanout_4_batch16", "coded_4", "recorded_4",
        "latency_p50", "latency_p99",
    ]  # fmt: skip
    assert all(row.value > 0 and row.baseline > 0 for row in rows)
