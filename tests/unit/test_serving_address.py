import pytest

from agents.serving import address
from grid.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "api", "endpoint", "path"),
    [
        (
            "remote:http://h:8080/v2/models/m?digest=d",
            "oip", "http://h:8080", "/v2/models/m/infer",
        ),
        (
            "remote:https://h/v2/models/m/versions/3?digest=d",
            "oip", "https://h", "/v2/models/m/versions/3/infer",
        ),
        (
            "remote:http://h:8080/predictions/m?digest=d",
            "torchserve", "http://h:8080", "/predictions/m",
        ),
        (
            "remote:http://h:8080/predictions/m/1.0?digest=d",
            "torchserve", "http://h:8080", "/predictions/m/1.0",
        ),
    ],
)  # fmt: skip
def test_address_of_http_says_what_the_server_speaks(text, api, endpoint, path):
    found = address.read(text)
    assert (found.api, found.endpoint, found.path) == (api, endpoint, path)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5580", "ipc:///tmp/x/socket"])
def test_address_of_zeromq_names_the_model_in_its_query(endpoint):
    found = address.read(f"remote:{endpoint}?model=m&version=2&digest=d&deadline_ms=5")
    assert (found.api, found.endpoint, found.model) == ("zmq", endpoint, "m")
    assert (found.version, found.deadline_ms) == ("2", 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("remote:http://h/v2/models/m", "expected digest=... or checkpoint=..."),
        ("remote:http://h/v2/models/m?digest=a&checkpoint=b", "not both"),
        ("remote:ftp://h/m?digest=d", "key api: expected one of oip, torchserve, zmq"),
        ("remote:http://h/models/m?digest=d", "key api"),
        ("remote:tcp://127.0.0.1:1?digest=d", "missing key model"),
        ("remote:tcp://10.0.0.1:1?model=m&digest=d", "expected ipc:// or loopback"),
        ("remote:http://h/v2/models/m?digest=d&deadline_ms=0", "key deadline_ms"),
        ("remote:http://h/v2/models/m?digest=d&deadline_ms=soon", "key deadline_ms"),
        ("remote:http://h/v2/models/m?digest=d&colour=red", "unknown key colour"),
    ],
)
def test_address_that_means_nothing_is_refused_in_a_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        address.read(text)
