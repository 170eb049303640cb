import pytest

from agents.bench import statistics


def test_bench_of_statistics_measures_every_row_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, small in {"TIMES": 2, "DRAWS": 40, "DAYS": 160, "TRIALS": 4}.items():
        monkeypatch.setattr(statistics, name, small)
    rows = statistics.run()
    assert len(rows) == 12
    assert len({row.name for row in rows}) == 12
    assert all(0 <= row.value <= 100 and 0 <= row.baseline <= 100 for row in rows)
