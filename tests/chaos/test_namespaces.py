"""A cable that is cut without a word: an agent in a network of its own, behind a router."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from grid import wire
from grid.paper import log
from grid.proof.check import check
from grid.proof.evidence import read
from grid.sockets import Addresses
from tests.support import markets
from tests.support.grids import LAUNCH, Grid
from tests.support.procs import until

BETA = '\n[[agents]]\nid = "beta"\nrole = "standby"\ncheckpoint = "baseline:momentum"\n'
LEFT, RIGHT = "10.77.1", "10.77.2"


class Cable:
    """Two networks with a router between them, each a namespace."""

    def __init__(self, name: str) -> None:
        self.left, self.router, self.right = (f"{name}{end}" for end in "lmr")

    def lay(self) -> None:
        for each in (self.left, self.router, self.right):
            _run("ip", "netns", "add", each)
            _in(each, "ip", "link", "set", "lo", "up")
        for end, net in ((self.left, LEFT), (self.right, RIGHT)):
            _run("ip", "link", "add", "wire", "netns", end, "type", "veth",
                 "peer", "name", end[-10:], "netns", self.router)  # fmt: skip
            _in(end, "ip", "addr", "add", f"{net}.1/24", "dev", "wire")
            _in(end, "ip", "link", "set", "wire", "up")
            _in(self.router, "ip", "addr", "add", f"{net}.254/24", "dev", end[-10:])
            _in(self.router, "ip", "link", "set", end[-10:], "up")
            _in(end, "ip", "route", "add", "default", "via", f"{net}.254")
        self.pass_on(True)

    def pass_on(self, whole: bool) -> None:
        """Let the router pass packets on, or drop them without a word."""
        _in(self.router, "sysctl", "-qw", f"net.ipv4.ip_forward={int(whole)}")

    def remove(self) -> None:
        for each in (self.left, self.router, self.right):
            subprocess.run(["ip", "netns", "del", each], capture_output=True, check=False)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=10)


def _in(namespace: str, *argv: str) -> None:
    _run("ip", "netns", "exec", namespace, *argv)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = Cable(f"argo{os.getpid()}")
    try:
        try:
            made.lay()
        except subprocess.CalledProcessError as e:
            pytest.skip(f"network namespaces do not work here: {e.stderr.decode().strip()}")
        yield made
    finally:
        made.remove()


def test_champion_behind_a_cut_cable_is_replaced_and_fenced_when_it_is_whole_again(
    tmp_path, procs, cable
):
    ends = {
        name: f"tcp://{LEFT}.1:{5570 + i}" for i, name in enumerate(Addresses.__struct_fields__)
    }
    grid = Grid(
        tmp_path, Addresses(**ends), markets.bar_columns(6_000), BETA,
        feed={"speed": 50, "lockstep": "false"},
        node={"ttl_ms": 300, "lease_ttl_ms": 1000, "venue": '"paper"'},
        security={"mode": '"off"'},
    )  # fmt: skip

    def start(namespace, command, *more):
        proc = procs.start(
            "ip", "netns", "exec", namespace, sys.executable, LAUNCH, command,
            "--config", grid.config, "--home", grid.home.root, *more, lifeline=True,
        )  # fmt: skip
        proc.ready()
        return proc

    for command in ("broker", "record", "feed", "venue"):
        start(cable.left, command)
    node = start(cable.left, "node")
    start(cable.left, "agent", "--id", "beta")
    start(cable.right, "agent", "--id", "alpha")
    session = next(grid.home.sessions.iterdir())
    size = (session / "events.mcap.part").stat().st_size
    until(
        lambda: (session / "events.mcap.part").stat().st_size > size + 20_000, "a market that moves"
    )
    cable.pass_on(False)
    node.expect("agent beta takes over from alpha")
    cable.pass_on(True)
    until(lambda: node.text.count("agent alpha joined as champion") > 1, "alpha to come back")
    for proc in reversed(procs.running()):
        assert proc.stop() == 0

    evidence = read([session], log.read(grid.home.venues / "test.sqlite", "main"))
    checked = check(evidence)
    assert [one for one in checked if one.violations] == []
    (run,) = evidence.runs
    (took,) = (s.event for s in run.events if isinstance(s.event, wire.TookOver))
    assert (took.before, took.agent_id) == ("alpha", "beta")
    acted = [s.event for s in run.events if isinstance(s.event, wire.Acted)]
    traders = [a.action.agent_id for a in acted if a.answer.status == "accepted"]
    assert set(traders) == {"alpha", "beta"}
    assert traders == sorted(traders)  # never alpha again
