"""A gateway that starts long after the agents have joined."""

import msgspec
import pytest

from grid import wire
from grid.gateway.hub import shown
from grid.gateway.state import State


@pytest.mark.parametrize(("status", "role"), [("accepted", "champion"), ("shadow", "shadow")])
def test_agent_whose_joining_is_forgotten_is_known_by_its_answers(status, role):
    state = State()
    action = wire.Action("s", 1, 1, "alpha", 3, 1, 0.5, policy="digest")
    event = wire.Acted(action, wire.Answer(status, 1, 1), 7)
    envelope = wire.Envelope(1, "node", 1, 1, 1, msgspec.Raw(b""))
    state.take(event, shown("exec.s", envelope, event, 1), 1)
    (agent,) = state.agents_now(1)
    assert (agent.role, agent.policy, agent.lease) == (role, "digest", 3)
