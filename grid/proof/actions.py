"""Rules on decisions and actions: one end each, in time, by the one who may, refused with a reason.

They look at each life of a node up to the first event that is missing; what lies beyond, no
recording can prove.
"""

from collections import Counter

from grid import wire
from grid.proof.evidence import Evidence, Run, Seen
from grid.proof.violation import Finding

_REFUSED = ("late", "stale", "fenced", "rejected", "duplicate")
_LATE_NS = 1_000_000  # clocks are slewed


def decisions(evidence: Evidence) -> Finding:
    """Decisions count from 1, and each ends once, before the next; a life may stop before the end.

    But not after it: where the data ended, so did every decision.
    """
    found = Finding()
    for run in evidence.runs:
        newest, asked = 0, None
        for seen in run.before_hole:
            match seen.event:
                case wire.Decision(seq=seq):
                    found.expect(seq == newest + 1, f"decision {seq} follows {newest}", seen)
                    if asked is not None:
                        found.expect(False, f"decision {newest} had no end", asked, seen)
                    newest, asked = seq, seen
                case wire.Outcome(decision_seq=seq):
                    is_open = asked is not None and seq == newest
                    found.expect(is_open, f"decision {seq} ended, and was not open", seen)
                    asked = None
                case wire.EndOfData() if asked is not None:
                    found.expect(False, f"decision {newest} had no end", asked, seen)
                case _:
                    pass
    return found


def in_time(evidence: Evidence, *, clocks_hold: bool = True) -> Finding:
    """An accepted action is for the newest decision, while that is open, and within its time.

    Args:
        evidence: to be judged.
        clocks_hold: compare times, too; not where a clock was set in the meantime.
    """
    found = Finding()
    for run in evidence.runs:
        asked: Seen | None = None
        for seen in run.before_hole:
            match seen.event:
                case wire.Decision():
                    asked = seen
                case wire.Outcome():
                    asked = None
                case wire.Acted(action=action, answer=answer) if answer.status == "accepted":
                    is_open = (
                        asked is not None
                        and isinstance(asked.event, wire.Decision)
                        and asked.event.seq == action.decision_seq
                        and asked.event.epoch == action.epoch == run.epoch
                    )
                    found.expect(
                        is_open,
                        f"action {_key(action)} was accepted for decision {action.decision_seq} of"
                        f" epoch {action.epoch}, which was not open",
                        seen,
                    )
                    if is_open and clocks_hold and asked is not None:
                        _within(found, asked, seen)
                case _:
                    pass
    return found


def _within(found: Finding, asked: Seen, acted: Seen) -> None:
    assert isinstance(asked.event, wire.Decision)
    assert isinstance(acted.event, wire.Acted)
    took_ns, ttl_ns = acted.event.ts_recv_ns - asked.published_ns, asked.event.ttl_ns
    found.expect(
        took_ns <= ttl_ns + _LATE_NS,
        f"action {_key(acted.event.action)} was accepted {took_ns / 1e6:.3f} ms after its decision,"
        f" which gave {ttl_ns / 1e6:g} ms",
        asked,
        acted,
    )


def right_hand(evidence: Evidence) -> Finding:
    """An accepted action comes from the agent that holds the strategy, under its last lease."""
    found = Finding()
    for run in evidence.runs:
        leases: dict[str, int] = {}
        holder = ""
        for seen in run.before_hole:
            match seen.event:
                case wire.Joined(agent_id=agent, lease=lease, role=role):
                    leases[agent] = lease
                    holder = holder or (agent if role == "champion" else "")
                case wire.TookOver(agent_id=agent, lease=lease, before=before):
                    leases[agent] = lease
                    leases.pop(before, None)
                    holder = agent
                case wire.Acted(action=action, answer=answer) if answer.status == "accepted":
                    said = f"action {_key(action)} was accepted"
                    found.expect(
                        action.agent_id == holder,
                        f"{said} while {holder or 'nobody'} held it",
                        seen,
                    )
                    last = leases.get(action.agent_id)
                    found.expect(
                        action.lease == last, f"{said}, and the last lease was {last}", seen
                    )
                case _:
                    pass
    return found


def once(evidence: Evidence) -> Finding:
    """No decision and no key has two accepted actions."""
    found = Finding()
    keys: Counter[tuple[str, int, int]] = Counter()
    for run in evidence.runs:
        answered: Counter[int] = Counter()
        for seen, acted in accepted(run):
            action = acted.action
            answered[action.decision_seq] += 1
            found.expect(
                answered[action.decision_seq] == 1,
                f"decision {action.decision_seq} of epoch {run.epoch} has a second action",
                seen,
            )
            keys[_key(action)] += 1
            found.expect(keys[_key(action)] == 1, f"action {_key(action)} counted twice", seen)
    return found


def reasons(evidence: Evidence) -> Finding:
    """Whatever was refused, denied or replaced by the fallback says why."""
    found = Finding()
    for run in evidence.runs:
        for seen in run.events:
            match seen.event:
                case wire.Acted(action=action, answer=answer) if answer.status in _REFUSED:
                    said = f"action {_key(action)} was {answer.status} without a reason"
                    found.expect(bool(answer.reason), said, seen)
                case wire.Outcome(how="fallback", decision_seq=seq, reason=reason):
                    found.expect(bool(reason), f"decision {seq} fell back without a reason", seen)
                case wire.OrderUpdate(status="rejected" | "denied" as status) as order:
                    said = f"order {order.client_order_id} was {status} without a reason"
                    found.expect(bool(order.reason), said, seen)
                case _:
                    pass
    return found


def accepted(run: Run) -> list[tuple[Seen, wire.Acted]]:
    """Return the accepted actions of one life of a node."""
    acted = ((seen, seen.event) for seen in run.events if isinstance(seen.event, wire.Acted))
    return [(seen, event) for seen, event in acted if event.answer.status == "accepted"]


def _key(action: wire.Action) -> tuple[str, int, int]:
    return action.agent_id, action.lease, action.action_seq
