"""From a grid's config to what each of its processes needs: the checkpoint gives the rest."""

from pathlib import Path

from agents.checkpoint import Checkpoint
from agents.policy import OnnxPolicy, Policy, check_spec, load_policy, refuse_market
from agents.registry.history import PREFIX
from agents.registry.registry import Registry, resolve
from agents.registry.watch import NameWatch
from agents.seat import Seat
from agents.serving import address
from agents.serving.remote import RemotePolicy
from agents.serving.sources import Source
from envs.data.bar import interval_ns
from envs.pipeline import ROWS, Pipeline
from grid import feed as feeding
from grid.dataset import Dataset
from grid.epoch import next_epoch
from grid.errors import ConfigError, SpecMismatch
from grid.gridstate import feed_position
from grid.home import Home
from grid.node.setup import NodeSetup
from grid.process import Lifeline
from grid.spec import Spec
from grid.topology import AgentConfig, GridConfig
from grid.venue import Venue

_NS_PER_MS = 1_000_000
_BYTES_PER_MB = 1_000_000


def check(config: GridConfig, home: Home) -> None:
    """Find out before anything starts whether all parts are there and fit together.

    Raises:
        CheckpointError, ConfigError, DataError, SpecMismatch: with what does not.
    """
    setup = node_setup(config, home, "node")
    for agent in config.agents:
        _policy(agent, config, home, setup.spec)
    if config.serving is not None:
        if not config.serving.models:
            raise ConfigError("serving.models: expected models to serve, found none")
        for model in config.serving.models:
            Source.read(model.checkpoint).open(Registry(home.models))
    dataset = Dataset.find(home.datasets, config.feed.dataset)
    if config.feed.kafka is None:
        feeding.rows(config.feed, dataset)


def node_setup(config: GridConfig, home: Home, name: str) -> NodeSetup:
    """Return what the live node needs.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the feed plays what the checkpoint was not made for.
        DataError: the feed's dataset is missing.
        SpecMismatch: the checkpoint trades several instruments, or orders.
    """
    checkpoint = Checkpoint.open(resolve(config.node.checkpoint, home.models))
    refuse_market(checkpoint)
    spec, venue = checkpoint.manifest.spec, checkpoint.manifest.venue
    dataset = Dataset.find(home.datasets, config.feed.dataset).manifest
    kind = ROWS.get(dataset.kind, dataset.kind)
    found = (dataset.instrument.id, kind, dataset.bar)
    wanted = (spec.instrument_id, spec.source, "" if spec.bars_from else spec.bar)
    if found != wanted:
        raise ConfigError(
            f"feed.dataset {dataset.name}: expected {' '.join(wanted)} rows as in checkpoint "
            f"{checkpoint.digest}, found {' '.join(found)}"
        )
    if dataset.kind == "deltas" and venue.book == "events":
        raise ConfigError(
            f"feed.dataset {dataset.name}: in training orders met every event of its book, and a "
            'grid has its rows alone: train with venue.book = "rows" to trade it here'
        )
    if venue.charges:
        raise ConfigError(
            "venue: a live node cannot charge funding and borrowing: expected funding_bps and "
            f"borrow_bps of 0, found {venue.funding_bps:g} and {venue.borrow_bps:g} in checkpoint "
            f"{checkpoint.digest}"
        )
    if config.node.venue == "paper":
        _check_paper(spec, venue)
    champion = next(a for a in config.agents if a.role == "champion")
    return NodeSetup(
        name=name,
        strategy_id=config.node.strategy_id,
        spec=spec,
        instrument=dataset.instrument,
        venue=venue,
        interval_ns=interval_ns(spec.bar) if spec.bars_from else dataset.interval_ns,
        warmup=Pipeline(spec).warmup,
        champion=champion.id,
        standbys=tuple(a.id for a in config.agents if a.role == "standby"),
        agents=tuple(agent.id for agent in config.agents),
        addresses=config.bus,
        epochs=home.epochs,
        halt=home.halts / f"{config.name}.json",
        audit=home.audit / f"{config.name}.jsonl",
        marks=home.venues / f"{config.name}-{config.node.account}.marks",
        ttl_ns=round(config.node.ttl_ms * _NS_PER_MS),
        lease_ttl_ns=round(config.node.lease_ttl_ms * _NS_PER_MS),
        fallback=config.node.fallback,
        wait_for_agents_s=config.node.wait_for_agents_s,
        stop_at_end=config.node.stop_at_end,
        lockstep=config.feed.lockstep,
        limits=config.limits,
        ring_bytes=round(config.node.ring_mb * _BYTES_PER_MB),
        recorded=config.recorder.enabled,
        paper=config.node.account if config.node.venue == "paper" else "",
        checkpoint=checkpoint.digest,
        no_manual_orders=config.node.no_manual_orders,
    )


def _check_paper(spec: Spec, venue: Venue) -> None:
    if spec.book is not None:
        raise ConfigError(
            'node.venue: expected "sandbox" for rows of depth, found "paper", which fills at the '
            "best bid and ask alone"
        )
    for name, found, wanted in (
        ("account", venue.account, "margin"),
        ("slippage_prob", venue.slippage_prob, 0.0),
        ("liquidity_consumption", venue.liquidity_consumption, False),
    ):
        if found != wanted:
            raise ConfigError(
                f"node.venue paper: the paper venue knows {name} {wanted} only, the checkpoint's "
                f"venue has {found}"
            )


def feed(config: GridConfig, home: Home, name: str, life: Lifeline, *, supervised: bool) -> None:
    """Be the feed of a grid, with the costs of the checkpoint that trades.

    Only a supervised feed keeps its position in a dataset on disk: its supervisor removes it in the
    end. That in Kafka stays, and so does its market.
    """
    position = feed_position(home, config.name) if supervised else None
    if config.feed.kafka is not None:
        position = home.bridges / f"{config.name}.feed.json"
    manifest = Checkpoint.open(resolve(config.node.checkpoint, home.models)).manifest
    spec, venue = manifest.spec, manifest.venue
    feeding.run(
        config.feed,
        Dataset.find(home.datasets, config.feed.dataset),
        venue,
        config.bus,
        life,
        epoch=next_epoch(home.epochs, name),
        bar_ns=interval_ns(spec.bar) if spec.bars_from else 0,
        name=name,
        bookmark=position,
    )


def seat(config: GridConfig, agent: AgentConfig, home: Home) -> Seat:
    """Return the seat of an agent, its policy loaded.

    Raises:
        CheckpointError: its checkpoint is missing or damaged.
        ConfigError: it asks a model server in a way that cannot work.
        SpecMismatch: it was trained for another spec than the node's.
    """
    spec: Spec = Checkpoint.open(resolve(config.node.checkpoint, home.models)).manifest.spec
    try:
        policy = _policy(agent, config, home, spec)
    except SpecMismatch as e:
        raise SpecMismatch(f"agent {agent.id}: {e}") from e
    if isinstance(policy, RemotePolicy):
        policy.prove()
    name = agent.checkpoint
    if isinstance(policy, OnnxPolicy | RemotePolicy):
        name = policy.checkpoint.digest
    return Seat(agent.id, config.node.strategy_id, agent.role, policy, name)


def watch(agent: AgentConfig, seat: Seat, home: Home) -> NameWatch | None:
    """Return what tells an agent of changes of its model's name; None if it has no such name."""
    name = agent.checkpoint.removeprefix(PREFIX)
    if name == agent.checkpoint or "/" not in name:
        return None
    return NameWatch(Registry(home.models), name, seat.policy_name)


def _policy(agent: AgentConfig, config: GridConfig, home: Home, spec: Spec) -> Policy:
    if not agent.checkpoint.startswith(address.PREFIX):
        return load_policy(_place(agent.checkpoint, home), spec)
    where = address.read(agent.checkpoint)
    if where.deadline_ms >= config.node.ttl_ms:
        raise ConfigError(
            f"agent {agent.id}: expected a deadline_ms below node.ttl_ms {config.node.ttl_ms:g}, "
            f"found {where.deadline_ms:g}"
        )
    policy = RemotePolicy.open(where, home.models)
    check_spec(agent.checkpoint, policy, spec)
    return policy


def _place(checkpoint: str, home: Home) -> str | Path:
    if checkpoint.startswith(PREFIX):
        return resolve(checkpoint, home.models)
    return checkpoint
