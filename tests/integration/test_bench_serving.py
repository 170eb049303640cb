import pytest

from agents.bench import serving


def test_bench_of_serving_measures_every_way_to_ask(monkeypatch):
    monkeypatch.delenv("TORCHSERVE", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(serving, "ROUNDS", 1)
    monkeypatch.setattr(serving, "CALLS", 5)
    monkeypatch.setattr(serving, "LOAD_S", 0.1)
    rows = {row.name: row for row in serving.run()}
    ways = ("in_process", "zmq", "torchserve_api", "oip_http", "oip_grpc")
    latencies = [f"{way}_p{percent}" for way in ways for percent in (50, 99)]
    loads = [f"zmq_{n}_{what}" for n in (1, 8, 32) for what in ("clients", "batch")]
    assert list(rows) == latencies + loads
    assert all(row.value > 0 for row in rows.values())
    assert rows["zmq_8_clients"].baseline == rows["zmq_1_clients"].value
    assert rows["zmq_1_batch"].value == pytest.approx(1.0)
    assert 1.0 < rows["zmq_32_batch"].value <= 32.0
