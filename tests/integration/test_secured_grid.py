"""A whole grid behind keys: trades as before, listens to nobody in plain, and stands attacks."""

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import psutil
import pytest

from agents import parity
from grid import grants, registrar, wire
from grid.audit import Entry
from tests.support import markets
from tests.support.attacker import GREETING
from tests.support.grids import LAUNCH, ROOT, Grid
from tests.support.procs import Procs, until
from tests.support.secured import Someone, tcp

ON = {"mode": '"on"'}
ATTACKER = ROOT / "tests" / "support" / "attacker.py"
SHARE = 0.5  # of the rates before that an attack must leave


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def mechanism_of(port: int) -> bytes:
    """What a socket demands of whoever comes without a key."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as one:
        one.sendall(GREETING[:12])  # the version; then the other side says its mechanism
        said = b""
        while len(said) < 64 and (more := one.recv(64 - len(said))):
            said += more
        one.sendall(GREETING[12:])
        assert one.recv(1) == b"", "a connection in plain stayed open"
    return said[12:32].rstrip(b"\0")


def listening(pids: list[int]) -> set[int]:
    return {
        found.laddr.port
        for pid in pids
        for found in psutil.Process(pid).net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    }


def test_grid_behind_keys_trades_as_before_and_listens_to_nobody_in_plain(
    tmp_path, procs: Procs
) -> None:
    addresses = tcp()
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), security=ON, feed={"speed": 100},
        node={"venue": '"paper"'},
    )  # fmt: skip
    registrar.enroll(grid.home.keys, "ann", grants.of_role("operator", "ann", ("S-1",)))
    registrar.enroll(grid.home.keys, "bob", grants.of_role("operator", "bob", ("S-2",)))
    beta = grants.of_role("agent", "beta", ("S-1",))
    registrar.enroll(
        grid.home.keys, "beta", msgspec.structs.replace(beta, publish=("sys.agent-alpha",))
    )
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    ports = {int(getattr(addresses, f).rpartition(":")[2]) for f in addresses.__struct_fields__}
    assert listening([child.pid for child in grid.state().children]) == ports
    assert {mechanism_of(port) for port in ports} == {b"CURVE"}

    said = grid.control(procs, "halt", "--key", "bob", "--by", "ann")
    assert said.wait() == 2
    assert "key 'bob': it may not control strategy 'S-1'" in said.text
    said = grid.control(procs, "halt", "--key", "ann", "--by", "mallory", "--reason", "odd fills")
    assert said.wait() == 0
    assert grid.control(procs, "resume", "--key", "ann").wait() == 0

    registrar.rotate(grid.home.keys, "grid", grace_s=2.0)  # everybody connects anew

    def trading() -> bool:
        status = procs.python(LAUNCH, "status", "--home", grid.home.root)
        status.wait()
        return "trading" in status.text

    until(trading, "the grid under its new key")
    as_alpha = grid.child(procs, "agent", "--id", "alpha", "--set", "security.key=beta")
    assert as_alpha.wait() == 2
    assert "key 'beta': it may not act as agent 'alpha'" in as_alpha.text

    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    (run,) = grid.runs()
    assert run.missing == 0
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    lines = (grid.home.audit / "test.jsonl").read_bytes().splitlines()
    acts = [msgspec.json.decode(line, type=Entry) for line in lines]
    assert [(e.kind, e.by) for e in acts if e.kind != "refusal"] == [
        ("halt", "ann"),
        ("resume", "ann"),
    ]
    refused = [(e.by, e.strategy_id, e.subject) for e in acts if e.by in ("bob", "beta")]
    assert refused == [("bob", "S-1", "halt"), ("beta", "S-1", "hello")]


def test_grid_under_attack_from_four_processes_keeps_its_rates(
    tmp_path, procs: Procs, stack: ExitStack
) -> None:
    addresses = tcp()
    grid = Grid(tmp_path, addresses, markets.bar_columns(6_000), security=ON, feed={"speed": 50})
    for name in ("evil1", "evil2", "evil3"):
        registrar.enroll(grid.home.keys, name, grants.of_role("agent", name, ("S-1",)))
    registrar.enroll(grid.home.keys, "good", grants.of_role("observer", "good"))
    grid.up(procs)
    grid.pid_of("agent-alpha")
    good = Someone(grid.home.keys, "good", addresses, stack).subscriber("md.", "exec.", "sys.b")
    counters: dict[str, float] = {}

    def rates(seconds: float) -> tuple[float, float]:
        """Bars, and decisions that an agent has answered, in a second."""
        good.drain(100_000)
        bars = actions = 0
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            found = good.recv(left_s)
            event = wire.event(found[1]) if found else None
            bars += isinstance(event, wire.Bar)
            actions += isinstance(event, wire.Outcome) and event.how == "action"
            if isinstance(event, wire.Heartbeat):
                counters.update(event.counters)
        return bars / seconds, actions / seconds

    until(lambda: rates(0.5)[1], "the first actions")
    before = rates(2.0)
    where, keys = msgspec.json.encode(addresses).decode(), grid.home.keys
    for what, name in (("requests", "evil1"), ("events", "evil2"), ("prefixes", "evil3")):
        procs.python(ATTACKER, what, where, keys, name)
    procs.python(ATTACKER, "strangers", where)
    during = rates(6.0)  # from the attack's first moment, when it hurts most
    until(lambda: rates(0.5) and counters["keys_barred"] >= 1, "one to be barred")
    print("bars/s, actions/s:", before, "->", during)
    print({k: v for k, v in counters.items() if v})
    assert before[1] > 20
    assert during[0] >= SHARE * before[0]
    assert during[1] >= SHARE * before[1]
    assert counters["events_forbidden"] > 0
    assert counters["events_flooded"] > 0
    assert counters["subscriptions_flooded"] > 0
    assert counters["refused_forbidden"] > 0
    assert counters["keys_cut"] > 0
    broker = psutil.Process(grid.pid_of("broker"))
    assert broker.memory_info().rss < 500 << 20


def test_agent_on_another_machine_trades_until_its_key_is_revoked(
    tmp_path, procs: Procs, stack: ExitStack
) -> None:
    addresses = tcp()
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(6_000), security=ON, feed={"speed": 50},
        node={"ttl_ms": 400},
    )  # fmt: skip
    text = grid.config.read_text()
    grid.config.write_text(f"{text}remote = true\n")  # the last table is the champion's
    registrar.enroll(
        grid.home.keys, "desk2", grants.of_role("agent", "desk2", ("S-1",), ("alpha",))
    )
    registrar.enroll(grid.home.keys, "good", grants.of_role("observer", "good"))
    grid.up(procs)
    grid.pid_of("node")
    there = tmp_path / "there"  # all that the other machine has
    (there / "keys").mkdir(parents=True, mode=0o700)
    shutil.copy2(grid.home.keys / "desk2.key", there / "keys")
    agent = procs.python(
        LAUNCH, "agent", "--config", grid.config, "--home", there, "--id", "alpha",
        "--set", "security.key=desk2",
    )  # fmt: skip
    good = Someone(grid.home.keys, "good", addresses, stack).subscriber("exec.")

    def outcomes(how: str, n: int) -> bool:
        """Wait until so many decisions in a row have ended in that way."""
        seen = 0
        while seen < n:
            event = wire.event(good.recv(20.0)[1])
            if isinstance(event, wire.Outcome):
                seen = seen + 1 if event.how == how else 0
        return True

    assert outcomes("action", 20)
    revoke = procs.python(LAUNCH, "keys", "revoke", "desk2", "--home", grid.home.root)
    assert revoke.wait() == 0
    assert outcomes("fallback", 5)
    agent.expect("does not let in key desk2")
