"""What clients of HTTP send and get: bodies in, numbers out."""

import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.serving import metrics, oip, torchserve
from agents.serving.sources import Source
from agents.serving.stats import BOUNDS_S, Tally
from grid.config import convert
from grid.errors import ConfigError, ProtocolError
from grid.serving import wire
from grid.serving.config import ServingConfig, fit_name

OBS = np.array([[0.1, -2.5, 3e-7]], dtype="<f4")
GIVEN = wire.Prediction(1, np.array([0.1, 1 / 3], dtype="<f4").tobytes(), "2", "abc", 5, 1.5, 2.5)


def infer_body(**changes):
    tensor = {"name": "obs", "shape": [1, 3], "datatype": "FP32", "data": OBS[0].tolist()}
    return msgspec.json.encode({"inputs": [tensor | changes]})


def test_oip_json_gives_the_same_bits_both_ways():
    asked = oip.read(infer_body(), None)
    assert asked.obs == OBS.tobytes()
    body, header = oip.answer(asked, "m", GIVEN)
    said = msgspec.json.decode(body)
    assert header is None
    assert np.array(said["outputs"][0]["data"], dtype="<f4").tobytes() == GIVEN.outputs
    assert said["outputs"][0]["shape"] == [1, 2]
    assert said["parameters"]["digest"] == "abc"


def test_oip_binary_body_is_json_and_the_numbers_behind_it():
    tensor = {"name": "obs", "shape": [3], "datatype": "FP32",
              "parameters": {"binary_data_size": 12}}  # fmt: skip
    head = msgspec.json.encode(
        {"inputs": [tensor], "id": "7", "parameters": {"binary_data_output": True, "timeout": 2000}}
    )
    asked = oip.read(head + OBS.tobytes(), str(len(head)))
    assert (asked.obs, asked.rows, asked.id, asked.timeout_s) == (OBS.tobytes(), 1, "7", 0.002)
    body, header = oip.answer(asked, "m", GIVEN)
    assert body[header:] == GIVEN.outputs
    assert msgspec.json.decode(body[:header])["id"] == "7"


@pytest.mark.parametrize(
    ("body", "header", "said"),
    [
        (b"{", None, "truncated"),
        (b'{"inputs": []}', None, "one input 'obs', found none"),
        (infer_body(name="x"), None, "found x"),
        (infer_body(datatype="INT8"), None, "expected FP32, found 'INT8'"),
        (infer_body(shape=[1, 4]), None, "found \\[1, 4\\]"),
        (infer_body(shape=[-1, -3]), None, "found \\[-1, -3\\]"),
        (infer_body(data=[["a", "b", "c"]]), None, "rows of as many numbers"),
        (infer_body(data=None), None, "expected data in JSON"),
        (infer_body(parameters={"binary_data_size": 99}), None, "expected 99 bytes, found 0"),
        (infer_body(), "0", "header"),
        (infer_body(), "x", "header"),
    ],
)
def test_oip_body_that_is_none_is_refused_in_a_sentence(body, header, said):
    with pytest.raises(ProtocolError, match=said):
        oip.read(body, header)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[0.1, -2.5, 3e-7]", "application/json"),
        (b'{"data": [0.1, -2.5, 3e-7]}', ""),
        (b'{"instances": [0.1, -2.5, 3e-7]}', "text/plain"),
        (b"data=%5B0.1%2C-2.5%2C3e-7%5D", "application/x-www-form-urlencoded"),
        (OBS.tobytes(), "application/octet-stream"),
    ],
)
def test_torchserve_body_in_any_dress_is_the_same_vector(body, content_type):
    assert torchserve.read(body, content_type) == (OBS.tobytes(), None)


def test_torchserve_answers_a_vector_with_a_list_and_rows_with_lists():
    outputs = msgspec.structs.replace(GIVEN, outputs=np.arange(4, dtype="<f4").tobytes())
    rows = torchserve.read(b"[[1, 2], [3, 4]]", "")
    assert msgspec.json.decode(torchserve.answer(rows, outputs)) == [[0.0, 1.0], [2.0, 3.0]]
    vector = torchserve.read(b"[1, 2]", "")
    assert msgspec.json.decode(torchserve.answer(vector, outputs)) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"7", b'{"data": "x"}', b"[[1], [1, 2]]"])
def test_torchserve_body_that_is_none_is_refused(body):
    with pytest.raises(ProtocolError):
        torchserve.read(body, "application/json")


def test_metrics_are_what_prometheus_reads():
    tally = Tally()
    tally.ran(3, 2_000)
    for total_ns in (40_000, 60_000, 2_000_000_000):
        tally.answered(1_000, total_ns)
    tally.refused("OVERLOADED")
    version = wire.Version(
        version="1", digest="d", obs_size=3, width=2, batched=True, loaded_ns=0,
        spec_digest="s", stats=tally.stats(4),
    )  # fmt: skip
    model = wire.Model(
        name="m", source="x", default="1", workers=1, max_batch=4, max_wait_us=0.0,
        versions=(version,),
    )  # fmt: skip
    page = metrics.render(wire.Listing(0, (model,), counts={"bad": 2}))
    found = {
        (s.name, s.labels.get("le") or s.labels.get("outcome") or s.labels.get("what")): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }
    assert found["argonaut_serving_requests_total", "ok"] == 3
    assert found["argonaut_serving_requests_total", "OVERLOADED"] == 1
    assert found["argonaut_serving_waiting", None] == 4
    assert found["argonaut_serving_other_total", "bad"] == 2
    assert found["argonaut_serving_seconds_bucket", "5e-05"] == 1
    assert found["argonaut_serving_seconds_bucket", f"{BOUNDS_S[1]:g}"] == 2
    assert found["argonaut_serving_seconds_bucket", "+Inf"] == 3
    assert found["argonaut_serving_seconds_sum", None] == pytest.approx(2.0001)


def test_model_is_called_by_what_its_source_says():
    assert Source.read("model:eurusd/champion") == ("model:eurusd/champion", "eurusd/champion")
    assert Source.read("model:eurusd/champion").name == "eurusd.champion"
    assert Source.read("model:0123abc") == ("model:0123abc", "")
    assert Source.read("/some/where/a run").name == "a-run"
    assert fit_name("../..") == "model"


def test_config_that_others_reach_without_a_token_is_refused(monkeypatch):
    tree = {"http": {"host": "0.0.0.0", "token_env": "SERVING_TOKEN"}}
    monkeypatch.delenv("SERVING_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="token_env"):
        convert(tree, ServingConfig, "test")
    monkeypatch.setenv("SERVING_TOKEN", "secret")
    assert convert(tree, ServingConfig, "test").http.token == "secret"
