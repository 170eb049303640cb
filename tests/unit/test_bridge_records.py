"""What a record or a row says of an event."""

import sys
from pathlib import Path

import msgspec
import pytest

from grid import wire
from grid.bridges import kafka
from grid.bridges.config import AlertsConfig, KafkaConfig
from grid.bridges.plain import as_json
from grid.bridges.tables import KEY, TABLES, schema
from grid.errors import ConfigError

ACTION = wire.Action("S-1", 1, 7, "a", 1, 1, 0.5)
ACTED = wire.Acted(ACTION, wire.Answer("accepted", 7, 1, client_order_ids=("o-1",)), 9)


def test_event_as_json_has_the_names_of_its_fields_and_its_kind() -> None:
    found = msgspec.json.decode(as_json(ACTED))
    assert found["kind"] == "acted"
    assert found["action"]["target"] == 0.5
    assert found["answer"]["client_order_ids"] == ["o-1"]
    assert found["ts_recv_ns"] == 9


def test_record_says_where_its_event_stands_on_the_bus() -> None:
    _, envelope = wire.unpack(wire.pack("exec.S-1", "node", 3, 8, 5, ACTED))
    headers = kafka._headers("exec.S-1", envelope, "json")
    assert kafka.place(headers) == ("node", 3, "exec.S-1", 8)
    assert kafka.place([("source", b"node")]) is None
    assert kafka.place(None) is None


def test_no_table_has_two_columns_of_a_name() -> None:
    for table in TABLES:
        names = schema(table).names
        assert len(set(names)) == len(names)
        assert names[:4] == list(KEY)


def test_absent_client_is_named_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"install argonaut-nt\[kafka\]"):
        kafka.KafkaSink(KafkaConfig(servers="localhost:1"), tmp_path / "position.json")
    monkeypatch.setitem(sys.modules, "apprise", None)
    from grid.bridges.alerts import Sender

    with pytest.raises(ConfigError, match=r"install argonaut-nt\[alerts\]"):
        Sender(AlertsConfig().urls_env.split())
