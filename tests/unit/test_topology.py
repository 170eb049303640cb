from pathlib import Path
from typing import Any

import msgspec
import pytest

from grid import config
from grid.errors import ConfigError
from grid.home import Home
from grid.sockets import Addresses
from grid.topology import GridConfig, processes, seen_from

ROOT = Path(__file__).parents[2]


def tree(**changes: Any) -> dict[str, Any]:
    return {
        "name": "demo",
        "feed": {"dataset": "eurusd"},
        "node": {"strategy_id": "s1", "checkpoint": "c1"},
        "agents": [
            {"id": "alpha", "role": "champion", "checkpoint": "c1"},
            {"id": "beta", "checkpoint": "baseline:flat"},
        ],
        **changes,
    }


def grid(**changes: Any) -> GridConfig:
    return config.convert(tree(**changes), GridConfig, "g.toml")


def test_grid_config_example_loads() -> None:
    example = config.load(ROOT / "configs" / "grid.toml", GridConfig)
    assert [a.role for a in example.agents] == ["champion", "shadow"]


def test_grid_config_defaults_are_lockstep_and_recorded() -> None:
    found = grid()
    assert found.feed.lockstep
    assert found.recorder.enabled
    assert found.node.fallback == "hold"
    beta = found.agent("beta")
    assert beta is not None
    assert beta.role == "shadow"
    assert found.agent("gamma") is None


AGENT = {"id": "alpha", "role": "champion", "checkpoint": "c"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agents": [{**AGENT, "role": "shadow"}]}, "key agents.role: expected one champion"),
        (
            {"agents": [AGENT, {**AGENT, "id": "b"}]},
            "key agents[1].role: expected one champion, found 2",
        ),
        ({"agents": [AGENT, AGENT]}, "key agents[1].id: 'alpha' is taken"),
        ({"agents": []}, "key agents: "),
        ({"feed": {"dataset": "d", "sped": 1}}, "unknown key feed.sped"),
        ({"feed": {"dataset": "d", "speed": -1}}, "key feed.speed: "),
        ({"feed": {"dataset": "d", "start": "soon"}}, "key feed: start and end: expected an ISO"),
        (
            {"feed": {"dataset": "d", "start": "2017-02-01", "end": "2017-01-01"}},
            "key feed: start 2017-02-01 is not before end 2017-01-01",
        ),
        ({"name": "../up"}, "key name: "),
        ({"node": {"strategy_id": "s", "checkpoint": "c", "ttl_ms": 0}}, "key node.ttl_ms: "),
        ({"bus": {"events_in": "inproc://x"}}, "key bus.events_in: "),
    ],
)
def test_grid_config_wrong_is_one_sentence_with_its_key(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        grid(**changes)
    assert str(error.value).startswith(f"g.toml: {sentence}")


def test_processes_are_what_a_person_could_type_in_order_of_readiness() -> None:
    specs = processes(grid(), ("python", "launch.py"), Path("g.toml"), Home(Path("h")))
    assert [" ".join(s.argv) for s in specs] == [
        "python launch.py broker --config g.toml --home h --name broker",
        "python launch.py record --config g.toml --home h --name recorder",
        "python launch.py feed --config g.toml --home h --name feed",
        "python launch.py node --config g.toml --home h --name node",
        "python launch.py agent --id alpha --config g.toml --home h --name agent-alpha",
        "python launch.py agent --id beta --config g.toml --home h --name agent-beta",
    ]
    assert [s.name for s in specs if not s.essential] == ["recorder", "agent-alpha", "agent-beta"]
    assert [s.name for s in specs if s.completes] == ["node"]


def test_processes_without_recorder_and_end_have_neither() -> None:
    node = {"strategy_id": "s1", "checkpoint": "c1", "stop_at_end": False}
    config_ = grid(recorder={"enabled": False}, node=node)
    specs = processes(config_, ("argonaut",), Path("g.toml"), Home())
    assert [s.name for s in specs] == ["broker", "feed", "node", "agent-alpha", "agent-beta"]
    assert not any(s.completes for s in specs)


def test_processes_on_paper_have_a_venue_before_the_node() -> None:
    node = {"strategy_id": "s1", "checkpoint": "c1", "venue": "paper", "account": "two"}
    specs = processes(grid(node=node), ("argonaut",), Path("g.toml"), Home())
    assert [s.name for s in specs][:5] == ["broker", "recorder", "feed", "venue", "node"]
    assert specs[3].argv[:4] == ("argonaut", "venue", "--config", "g.toml")
    assert specs[3].essential


def test_gateway_and_redis_are_processes_that_a_grid_can_do_without() -> None:
    specs = processes(grid(gateway={}, redis={}), ("argonaut",), Path("g.toml"), Home(Path("h")))
    found = {spec.name: spec for spec in specs}
    assert found["gateway"].argv[:2] == ("argonaut", "gateway")
    assert found["bridge-redis"].argv[:3] == ("argonaut", "bridge", "redis")
    assert not found["gateway"].essential
    assert not found["bridge-redis"].essential


def test_process_that_binds_sees_its_own_ends_and_reaches_the_others() -> None:
    bind = {name: f"ipc:///b/{name}" for name in Addresses.__struct_fields__}
    found = grid(bind=bind)
    for role, own in {
        "broker": {"events_in", "events_out", "requests", "strategies"},
        "feed": {"feed"},
        "venue": {"venue"},
        "node": set(),
    }.items():
        bus = seen_from(role, found).bus
        bound = {n for n in bind if getattr(bus, n) == bind[n]}
        assert bound == own
        others = {n for n in bind if getattr(bus, n) == getattr(found.bus, n)}
        assert others == bind.keys() - own
    assert seen_from("broker", grid()) == grid()


def test_security_is_on_for_all_as_soon_as_one_endpoint_is_open() -> None:
    assert grid().security.mode == "auto"
    assert grid(bus={"feed": "tcp://10.0.0.1:5574"}).security.mode == "on"
    bind = {**msgspec.to_builtins(grid().bus), "requests": "tcp://0.0.0.0:5572"}
    for role in ("broker", "agent"):
        assert seen_from(role, grid(bind=bind)).security.mode == "on"
    off = grid(bind=bind, security={"mode": "off", "key": "beta"}).security
    assert (off.mode, off.key) == ("off", "beta")


def test_remote_agent_is_known_and_not_started() -> None:
    agents = [
        {"id": "alpha", "role": "champion", "checkpoint": "c", "remote": True},
        {"id": "beta", "checkpoint": "c"},
    ]
    found = grid(agents=agents)
    specs = processes(found, ("argonaut",), Path("grid.toml"), Home(Path("home")))
    assert [s.name for s in specs if s.name.startswith("agent")] == ["agent-beta"]
    assert found.agent("alpha") is not None
