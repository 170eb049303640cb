import psutil
import pytest

from agents.bench import env, parts, vector


def test_bench_of_the_env_measures_every_row_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(env, "BARS", 3_000)
    monkeypatch.setattr(env, "ROUNDS", 1)
    monkeypatch.setattr(env, "LONG_STEPS", 12_000)
    monkeypatch.setattr(env, "LONG_RESETS", 100)
    rows = {row.name: row for row in env.run()}
    assert list(rows) == [
        "raw", "hold", "act10", "act1", "reset", "long_act10", "long_act10_memory", "long_reset",
        "long_reset_memory",
    ]  # fmt: skip
    assert all(row.value > 0 and row.baseline > 0 for row in rows.values())


def test_parts_of_a_whole_add_up_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BARS", 3_000)
    monkeypatch.setattr(vector, "BARS", 3_000)
    monkeypatch.setattr(parts, "ROUNDS", 1)
    monkeypatch.setattr(parts, "SIZES", (2,))
    rows = {row.name: row for row in parts.run()}
    for whole in ("step", "order", "reset"):
        of_it = {name: row for name, row in rows.items() if name.startswith(f"{whole}_")}
        assert len(of_it) >= 3
        assert sum(row.value for row in of_it.values()) == pytest.approx(rows[whole].value)
        assert {row.baseline for row in of_it.values()} == {rows[whole].value}
    assert {"vector_2", "vector_2_env", "vector_2_hand"} <= set(rows)
    assert rows["order"].value > 0  # a part is a difference, and may be lost in noise
    assert not psutil.Process().children(recursive=True)
