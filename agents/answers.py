"""What policies answer to recorded observations, again.

A policy without memory answers each by itself. One with a memory must have seen all that it saw
live, in order: from the agent's welcome on, which is when it begins to remember, and from each
change of its policy. Where that is not in the recording, its answer cannot be told.
"""

from bisect import bisect_right
from collections.abc import Mapping

import numpy as np

from agents.policy import NetworkPolicy, Policy, begin
from grid import wire
from grid.transcript import Transcript


def again(run: Transcript, agent: str, policies: Mapping[str, Policy]) -> dict[int, float]:
    """Return the targets of an agent's decisions, by sequence, that can be told.

    Args:
        run: a recorded run.
        agent: whose decisions they are.
        policies: those that it had, by name.
    """
    leases = sorted(j.lease for j in run.joined if j.agent_id == agent)
    joined, told = run.policy_of(agent), dict[int, float]()
    memory: tuple[int, str] = (0, "")  # which welcome, which policy
    whole = True
    before: wire.Action | None = None
    for action in (a.action for a in run.acted if a.action.agent_id == agent):
        name = action.policy or joined
        policy, now = policies[name], (bisect_right(leases, action.lease), name)
        if now != memory:
            begin(policy)
            memory, whole, before = now, now[0] > 0, None
        whole = whole and _follows(action, before)
        before = action
        if action.decision_seq in told:
            continue  # asked for anew, and answered from memory
        if whole or not _remembers(policy):
            told[action.decision_seq] = policy.act(np.frombuffer(action.obs, dtype="<f4"))
    return told


def _follows(action: wire.Action, before: wire.Action | None) -> bool:
    """Whether no action of the same lease is missing before this one."""
    if before is None or action.lease != before.lease:
        return action.action_seq == 1
    return action.action_seq - before.action_seq in (0, 1)


def _remembers(policy: Policy) -> bool:
    return isinstance(policy, NetworkPolicy) and policy.recurrent
