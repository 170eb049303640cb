"""docs/security.md says what the code does."""

from pathlib import Path

from grid import door, grants, relay
from grid.context import MAX_PEERS
from grid.grants import EVENTS_PER_S, ROLES
from grid.history import PER_S
from grid.switch import REQUESTS_PER_S

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def row(first: str) -> str:
    return next(line for line in TEXT.splitlines() if line.startswith(f"| {first} |"))


def test_every_role_has_its_row():
    rows = [line.split("`")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    assert [r for r in rows if " " not in r] == list(ROLES)


def test_rights_of_the_roles_are_those_of_the_code():
    agent = grants.of_role("agent", "NAME", ("S",), ("ID",))
    assert all(f"`{topic}`" in row("`agent`") for topic in (*agent.publish, *agent.subscribe))
    node = grants.of_role("node", "NAME", ("S",))
    assert all(f"`{topic}`" in row("`node`") for topic in (*node.publish, *node.subscribe))
    assert "`history.NAME`" in row("`node`")


def test_limits_are_those_of_the_code():
    assert f" {MAX_PEERS:,}, " in row("connections to an endpoint")
    assert f" {REQUESTS_PER_S:,.0f} a second " in row("requests of a peer")
    assert f" {EVENTS_PER_S:g} a second " in row("events of an agent, observer or operator")
    assert f" {relay.MAX_SUBSCRIPTIONS:,} " in row("subscriptions of a key")
    refusals = row("refusals that a key causes")
    assert f" {door.MISDEEDS_PER_S:,.0f} a second " in refusals
    assert f"kept out for {door.KEPT_OUT_S:g} s" in refusals
    assert f" {PER_S:g} a second " in row("fetches of a client")
