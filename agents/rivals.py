"""The policies that an agent is shown beside, under the same costs: none of them has learned."""

from agents.baselines import Constant, Momentum, Random
from agents.checkpoint import Manifest
from agents.metrics import Track
from agents.policy import Policy
from grid.errors import ArgonautError, ConfigError, SpecMismatch


def rivals(manifest: Manifest, agent: Track, seed: int) -> tuple[dict[str, Policy], list[str]]:
    """Return the baselines of an agent by name, and what is to be said of them, a sentence each.

    Args:
        manifest: of the agent's checkpoint.
        agent: its track, whose turnover the random one takes.
        seed: of the random one.
    """
    spec = manifest.spec
    turnover = float(abs(agent.fills[:, 1]).sum()) / spec.target.max_qty / agent.steps
    found: dict[str, Policy] = {
        "flat": Constant(spec, 0.0),
        "hold": Constant(spec, 1.0),
        "random": Random.trading(spec, turnover, seed),
    }
    notes = [f"random draws its targets evenly, with the agent's turnover and seed {seed}."]
    try:
        momentum = Momentum(spec)
        found["momentum"] = momentum
        notes.append(f"momentum holds the sign of the feature {momentum.feature}.")
    except SpecMismatch as e:
        notes.append(f"Without the momentum rule: {e}.")
    try:
        found["untrained"] = _untrained(manifest)
        notes.append("untrained is the agent's own network before its first decision.")
    except ArgonautError as e:
        notes.append(f"Without the untrained network: {e}.")
    return found, notes


def _untrained(manifest: Manifest) -> Policy:
    if "algo" not in manifest.config:  # seconds of loading torch are spared
        raise ConfigError("the checkpoint does not hold the config of its run")
    from agents.untrained import untrained

    return untrained(manifest)
