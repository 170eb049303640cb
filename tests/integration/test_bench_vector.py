import psutil
import pytest

from agents.bench import vector


def test_bench_of_vector_envs_measures_every_row_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vector, "SIZES", (2,))
    monkeypatch.setattr(vector, "BARS", 3_000)
    monkeypatch.setattr(vector, "ROUNDS", 1)
    monkeypatch.setattr(vector, "STEPS", 20)
    rows = vector.run()
    assert [row.name for row in rows] == ["shared_2", "shared_2_p95_us", "gym_2", "async_2"]
    assert all(row.value > 0 and row.baseline > 0 for row in rows)
    assert not psutil.Process().children(recursive=True)
