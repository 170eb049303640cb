import signal
from collections.abc import Sequence

import pytest

from grid.lifecycle import Command, Notice, Patience, Plan, ProcessSpec, Signal, Start


def spec(
    name: str, *, essential: bool = True, completes: bool = False, beat_timeout_s: float = 1000
) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=(name,),
        essential=essential,
        completes=completes,
        ready_timeout_s=30,
        beat_timeout_s=beat_timeout_s,
    )


def up(*specs: ProcessSpec) -> Plan:
    """A plan whose children all became ready at t=0."""
    plan = Plan(specs)
    plan.start(0)
    for s in specs:
        plan.ready(s.name, 0)
    return plan


def acts(commands: Sequence[Command]) -> list[Command]:
    return [c for c in commands if not isinstance(c, Notice)]


def told(commands: Sequence[Command]) -> Notice:
    [notice] = [c for c in commands if isinstance(c, Notice)]
    return notice


def phases(plan: Plan) -> list[str]:
    return [c.phase for c in plan.children.values()]


def crash(plan: Plan, name: str, now: float) -> float:
    """Let `name` exit and start again; return how long it was held back."""
    plan.exited(name, 1, now)
    delay_s = plan.children[name].due - now
    assert Start(name) in plan.tick(now + delay_s)
    return delay_s


def test_plan_starts_each_child_when_the_one_before_is_ready() -> None:
    plan = Plan([spec("broker"), spec("recorder"), spec("node")])
    assert acts(plan.start(0)) == [Start("broker")]
    assert plan.start(1) == []
    assert acts(plan.ready("broker", 2)) == [Start("recorder")]
    assert acts(plan.ready("recorder", 3)) == [Start("node")]
    assert acts(plan.ready("node", 4)) == []
    assert phases(plan) == ["ready"] * 3


def test_plan_ready_said_twice_starts_nothing_twice() -> None:
    plan = Plan([spec("broker"), spec("node")])
    plan.start(0)
    plan.ready("broker", 1)
    assert plan.ready("broker", 2) == []


def test_plan_child_never_ready_is_killed_and_given_up() -> None:
    plan = Plan([spec("broker"), spec("node")])
    plan.start(0)
    assert plan.tick(29.9) == []
    assert plan.tick(30) == [Signal("broker", signal.SIGKILL)]
    assert told(plan.exited("broker", -9, 30.1)).kind == "failed"
    assert plan.over
    assert str(plan.failure) == "broker was not ready within 30 s"


def test_plan_child_slow_on_a_restart_is_started_again() -> None:
    plan = up(spec("node"))
    crash(plan, "node", 1)
    assert plan.tick(40) == [Signal("node", signal.SIGKILL)]
    assert "starts again" in told(plan.exited("node", -9, 40)).detail


def test_plan_silent_child_is_killed_and_started_again() -> None:
    plan = up(spec("broker"), spec("node", beat_timeout_s=3))
    plan.beat("node", 2)
    assert plan.tick(4.9) == []
    assert plan.wait_s(4.9) == pytest.approx(0.1)
    assert plan.tick(5) == [Signal("node", signal.SIGKILL)]
    [died] = plan.exited("node", -9, 5)
    assert died == Notice("died", "node", "did not beat for 3 s; starts again in 0.2 s")
    assert plan.tick(5.2) == [Start("node"), Notice("restarted", "node")]


def test_plan_backoff_doubles_to_its_bound_and_is_reset_by_health() -> None:
    plan = Plan([spec("node")], Patience(restarts=8, window_s=1))
    plan.start(0)
    assert [crash(plan, "node", 10 * i) for i in range(7)] == pytest.approx(
        [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    )
    plan.ready("node", 100)
    assert crash(plan, "node", 110) == pytest.approx(0.2)


def test_plan_essential_child_with_too_many_restarts_takes_the_grid_down() -> None:
    plan = up(spec("broker"), spec("node"))
    for i in range(5):
        crash(plan, "node", 10 * i)
    commands = plan.exited("node", -11, 49)
    assert commands == [
        Notice("failed", "node", "was killed by SIGSEGV, after 5 restarts"),
        Signal("broker", signal.SIGTERM),
    ]
    plan.exited("broker", 0, 50)
    assert plan.over
    assert plan.failure is not None
    assert plan.failure.exit_code == 1


def test_plan_restarts_outside_the_window_are_forgotten() -> None:
    plan = up(spec("node"))
    for i in range(20):
        crash(plan, "node", 13 * i)
        plan.ready("node", 13 * i + 1)
    assert phases(plan) == ["ready"]


def test_plan_failed_agent_leaves_the_rest_running_and_the_next_its_turn() -> None:
    plan = Plan([spec("node"), spec("alpha", essential=False), spec("beta", essential=False)])
    plan.start(0)
    plan.ready("node", 0)
    commands = plan.exited("alpha", 2, 1)
    assert commands[0] == Notice("failed", "alpha", "exited with code 2: its input is at fault")
    assert acts(commands) == [Start("beta")]
    plan.ready("beta", 2)
    assert phases(plan) == ["ready", "failed", "ready"]
    assert not plan.over


def test_plan_completed_child_ends_the_grid_without_failure() -> None:
    plan = up(spec("broker"), spec("node", completes=True), spec("alpha", essential=False))
    assert acts(plan.exited("node", 0, 5)) == [Signal("alpha", signal.SIGTERM)]
    assert acts(plan.exited("alpha", 0, 6)) == [Signal("broker", signal.SIGTERM)]
    plan.exited("broker", 0, 7)
    assert plan.over
    assert plan.failure is None


def test_plan_exit_without_error_of_another_child_is_a_death() -> None:
    plan = up(spec("feed"))
    assert told(plan.exited("feed", 0, 1)).kind == "died"


def test_plan_stop_goes_backwards_one_at_a_time_and_kills_after_grace() -> None:
    plan = up(spec("broker"), spec("node"))
    assert plan.stop(10) == [Signal("node", signal.SIGTERM)]
    assert plan.tick(14.9) == []
    assert plan.tick(15) == [Signal("node", signal.SIGKILL)]
    commands = plan.exited("node", -9, 15.1)
    assert told(commands).detail == "did not stop within 5 s and was killed"
    assert acts(commands) == [Signal("broker", signal.SIGTERM)]
    assert not plan.over
    plan.exited("broker", 0, 16)
    assert plan.over


def test_plan_asked_twice_stops_all_at_once() -> None:
    plan = up(spec("broker"), spec("recorder"), spec("node"))
    plan.stop(10)
    assert plan.stop(10.5) == [
        Signal("recorder", signal.SIGTERM),
        Signal("broker", signal.SIGTERM),
    ]
    assert len(plan.tick(11.5)) == 3


def test_plan_stopped_while_starting_starts_nothing_more() -> None:
    plan = Plan([spec("broker"), spec("node")])
    plan.start(0)
    assert plan.stop(1) == [Signal("broker", signal.SIGTERM)]
    assert plan.ready("broker", 1.1) == []
    plan.exited("broker", -15, 1.2)
    assert plan.over


def test_plan_stopped_in_backoff_never_starts_again() -> None:
    plan = up(spec("broker"), spec("node"))
    plan.exited("node", 1, 1)
    assert plan.stop(1.1) == [Signal("broker", signal.SIGTERM)]
    assert acts(plan.tick(2)) == []
