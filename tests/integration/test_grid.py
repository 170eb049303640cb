"""The grid as a trader meets it: real processes, brought up and talked to from outside."""

import os
import signal

import msgpack
import pytest
import zmq

from grid import wire
from tests.support import markets, runs
from tests.support.grids import LAUNCH, Grid, Watch, alive
from tests.support.procs import until

SLOW = {"speed": 60}


@pytest.fixture
def watch(context):
    watches = []

    def start(grid):
        watches.append(Watch(context, grid))
        return watches[-1]

    yield start
    for each in watches:
        each.close()


def test_grid_completes_and_leaves_a_whole_session(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses)
    up = grid.up(procs)
    assert up.wait(60) == 0
    order = [line.split()[1] for line in up.text.splitlines() if line.startswith("ready")]
    assert order == ["broker", "recorder", "feed", "node", "agent-alpha"]
    (run,) = grid.runs()
    assert run.missing == 0
    assert run.ended
    assert [d.seq for d in run.decisions.values()] == list(range(1, grid.live_rows + 1))
    info = procs.python(LAUNCH, "sessions", "info", "latest", "--home", grid.home.root)
    assert info.wait() == 0
    assert "complete" in info.text
    assert "damage     none" in info.text


def test_sigint_stops_everything_in_order_and_keeps_the_session(tmp_path, addresses, procs, watch):
    grid = Grid(tmp_path, addresses, feed=SLOW)
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    watch(grid).outcomes(5)
    pids = [child.pid for child in grid.state().children]
    assert len(pids) == 5
    up.popen.send_signal(signal.SIGINT)
    assert up.wait(20) == 0
    assert not [pid for pid in pids if alive(pid)]
    stopped = [line.split()[1] for line in up.text.splitlines() if line.startswith("stopped")]
    assert stopped == ["agent-alpha", "node", "feed", "recorder", "broker"]
    (run,) = grid.runs()
    assert len(run.outcomes) >= 5
    assert not run.ended


def test_status_shows_every_process_and_the_position(tmp_path, addresses, procs, watch):
    grid = Grid(tmp_path, addresses, feed=SLOW)
    grid.up(procs)
    grid.pid_of("agent-alpha")
    watch(grid).until(lambda e: isinstance(e, wire.Fill), "a fill")
    status = procs.python(LAUNCH, "status", "--home", grid.home.root)
    assert status.wait(20) == 0
    lines = {line.split()[0]: line for line in status.text.splitlines() if line.strip()}
    assert {"broker", "recorder", "feed", "node", "agent-alpha"} <= set(lines)
    head = lines["process"].split()
    node = lines["node"].split()
    assert {"gaps", "late", "dropped", "position"} <= set(head)
    assert "trading" in node


def test_plain_req_socket_and_plain_msgpack_act_as_the_champion(
    tmp_path, addresses, procs, context, watch
):
    """A stranger's client: REQ, SUB and the independent msgpack package, nothing of ours."""
    grid = Grid(tmp_path, addresses, node={"ttl_ms": 20_000})
    for command in ("broker", "record", "feed", "node"):
        grid.child(procs, command).ready()
    events = context.socket(zmq.SUB)
    events.subscribe(b"decision.S-1\0")
    events.connect(addresses.events_out)
    req = context.socket(zmq.REQ)
    req.connect(addresses.requests)

    def ask(*message):
        req.send(msgpack.packb(message))
        assert req.poll(10_000), "no reply"
        return msgpack.unpackb(req.recv())

    welcome = ask("hello", "S-1", "alpha", "champion", grid.spec.digest, 1)
    assert welcome[0] == "welcome"
    _, strategy, agent, role, epoch, lease, *_ = welcome
    assert (strategy, agent, role) == ("S-1", "alpha", "champion")
    answers = []
    for n in range(1, 31):
        assert events.poll(10_000), "no decision"
        version, _source, _epoch, _seq, _ts, body = msgpack.unpackb(
            events.recv().partition(b"\0")[2]
        )
        assert version == wire.VERSION
        assert body[0] == "decision"
        assert body[3] == n
        action = ("action", "S-1", epoch, n, "alpha", lease, n, [1.0, -1.0][n % 2])
        answers.append(ask(*action))
        if n % 10 == 0:
            again = ask(*action)
            assert again[1] == "duplicate"
            assert again[5] == answers[-1][5]
    assert [a[1] for a in answers] == ["accepted"] * 30
    ids = [i for a in answers for i in a[5]]
    assert ids == [f"alpha-{lease}-{n}" for n in range(1, 31)]
    assert ask("action", "S-1", epoch, 1, "alpha", lease, 99, 1.0)[1] == "stale"
    assert ask("action", "S-1", epoch, 31, "alpha", lease, 98, 7.0)[1] == "rejected"
    assert ask("action", "S-1", epoch, 31, "alpha", lease - 1, 97, 1.0)[1] == "fenced"
    assert ask("hello", "S-1", "alpha", "champion", "wrong", 1)[0] == "refused"
    assert ask("hello", "S-2", "alpha", "champion", grid.spec.digest, 1)[0] == "refused"
    events.close()
    req.close()


@pytest.mark.parametrize("fallback", ["hold", "flatten"])
def test_silent_champion_makes_the_strategy_fall_back(tmp_path, addresses, procs, watch, fallback):
    grid = Grid(tmp_path, addresses, markets.bar_columns(900), feed=SLOW,
                node={"ttl_ms": 150, "fallback": f'"{fallback}"'})  # fmt: skip
    grid.up(procs)
    pid = grid.pid_of("agent-alpha")
    seen = watch(grid)
    seen.until(
        lambda e: isinstance(e, wire.Decision) and e.account.position_qty != 0.0, "a position"
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        outcome = seen.until(
            lambda e: isinstance(e, wire.Outcome) and e.how == "fallback", "a fallback"
        )
        assert outcome.reason == "no action by the deadline"
        later = [seen.until(lambda e: isinstance(e, wire.Decision), "a decision") for _ in range(4)]
        held = {d.account.position_qty for d in later[1:]}
        if fallback == "flatten":
            assert outcome.target == 0.0
            assert held == {0.0}
        else:
            assert outcome.target * 10_000.0 in held
            assert len(held) == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    seen.outcomes(5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('role = "champion"', 'role = "boss"', "agents"),
        ('id = "alpha"', 'idd = "alpha"', "idd"),
        ("speed = 0", "speed = -1", "feed.speed"),
        ('dataset = "tiny"', 'dataset = "huge"', "no dataset 'huge'"),
        ("ttl_ms = 5000", "ttl_ms = 0", "node.ttl_ms"),
        ("lockstep = true", 'lockstep = true\nstart2 = "x"', "start2"),
    ],
)
def test_wrong_config_dies_before_anything_starts(tmp_path, addresses, procs, old, new, said):
    grid = Grid(tmp_path, addresses)
    text = grid.config.read_text()
    assert old in text
    grid.config.write_text(text.replace(old, new))
    up = grid.up(procs)
    assert up.wait() == 2
    (line,) = up.text.splitlines()
    assert line.startswith("argonaut: ")
    assert said in line
    assert not grid.home.sessions.exists()


def test_agent_trained_for_another_spec_is_refused_before_anything_starts(
    tmp_path, addresses, procs
):
    grid = Grid(tmp_path, addresses)
    other = runs.checkpoint(tmp_path / "other", runs.SPEC)
    text = grid.config.read_text()
    head, _, tail = text.rpartition(str(grid.checkpoint.path))
    grid.config.write_text(head + str(other.path) + tail)
    up = grid.up(procs)
    assert up.wait() == 2
    assert "trained for another spec than the strategy's: features" in up.text


def test_second_grid_of_the_same_name_is_refused(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, feed=SLOW)
    grid.up(procs)
    grid.pid_of("agent-alpha")
    second = grid.up(procs)
    assert second.wait() != 0
    assert "runs already" in second.text
    until(lambda: alive(grid.pid_of("node")), "the first grid to be well")
