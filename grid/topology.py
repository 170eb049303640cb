"""From a grid's config to its processes: data only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from grid.bridges.config import (
    AlertsConfig,
    KafkaConfig,
    KafkaFeed,
    LakehouseConfig,
    PostgresConfig,
)
from grid.bus import Addresses
from grid.dataset import to_ns
from grid.errors import DataError
from grid.gateway.config import GatewayConfig
from grid.home import Home
from grid.identity import Security, exposed
from grid.lifecycle import ProcessSpec
from grid.limits import Limits
from grid.redis.config import RedisConfig
from grid.serving.config import ServingConfig
from grid.wire import Role

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=40,
        description="letters, digits, dashes and underscores, beginning with a letter or digit",
    ),
]
Text = Annotated[str, msgspec.Meta(min_length=1)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


_BINDS = {
    "broker": ("events_in", "events_out", "requests", "strategies"),
    "feed": ("feed",),
    "venue": ("venue",),
}


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class RecorderConfig(_Section, frozen=True):
    """The recorder, an ordinary subscriber.

    Attributes:
        enabled: whether there is one.
        history_mb: of events that are kept in memory for those who missed some.
        fsync_ms: a crash takes away the events of so long, and no more.
    """

    enabled: bool = True
    history_mb: Positive = 64.0
    fsync_ms: Annotated[float, msgspec.Meta(ge=20)] = 100.0


class FeedConfig(_Section, frozen=True):
    """What is played to the node as a venue's data.

    Attributes:
        dataset: name of a dataset in the home folder.
        start: ISO date or time, UTC, of the first row; empty for the dataset's first.
        end: the same, of the first row that is not played; empty for all.
        speed: rows a second; 0 is as fast as the node's credit allows.
        lockstep: the node lets the next row come when the decision before is settled, so that what
            happens does not depend on how fast anyone is.
        kafka: a topic that the rows come from; the dataset says of what, and has those before them.
    """

    dataset: Text
    start: str = ""
    end: str = ""
    speed: NonNegative = 0.0
    lockstep: bool = True
    kafka: KafkaFeed | None = None

    def __post_init__(self) -> None:
        if self.kafka is not None and self.speed:
            raise ValueError("key speed: expected 0 beside kafka, whose rows come when they come")
        try:
            start, end = (to_ns(t) if t else None for t in (self.start, self.end))
        except DataError as e:
            raise ValueError(f"start and end: {e}") from e
        if start is not None and end is not None and start >= end:
            raise ValueError(f"start {self.start} is not before end {self.end}")


class NodeConfig(_Section, frozen=True):
    """The live node and its strategy; spec, venue and instrument come from the checkpoint.

    Attributes:
        strategy_id: what agents ask for.
        checkpoint: folder of the checkpoint.
        fallback: what is done when no action comes in time: `hold` keeps the position, `flatten`
            closes it.
        ttl_ms: time to answer a decision.
        lease_ttl_ms: a standby takes over when the champion has not renewed its lease for so long.
        wait_for_agents_s: how long the first row waits for the agents.
        stop_at_end: the grid ends when the feed has no more.
        ring_mb: of its own events that are kept in memory for those who missed some.
        venue: `sandbox` is the engine's own and forgets all when the node ends; `paper` is a
            process that keeps orders, position and balance on disk.
        account: at the paper venue; another name begins anew with the checkpoint's capital.
        manual_orders: whether people may order, too: `paper` at the sandbox and the paper venue,
            `live` at any, `refused` nowhere.
    """

    strategy_id: Name
    checkpoint: Text
    fallback: Literal["hold", "flatten"] = "hold"
    ttl_ms: Positive = 1000.0
    lease_ttl_ms: Annotated[float, msgspec.Meta(ge=300)] = 1500.0
    wait_for_agents_s: NonNegative = 30.0
    stop_at_end: bool = True
    ring_mb: Positive = 32.0
    venue: Literal["sandbox", "paper"] = "sandbox"
    account: Name = "main"
    manual_orders: Literal["refused", "paper", "live"] = "paper"

    @property
    def is_live(self) -> bool:
        """Whether its orders cost real money."""
        return self.venue not in ("sandbox", "paper")

    @property
    def no_manual_orders(self) -> str:
        """Why it takes no orders of people; empty if it does."""
        if self.manual_orders == "refused" or (self.is_live and self.manual_orders != "live"):
            return f"node.manual_orders {self.manual_orders}: no order of a person is taken here"
        return ""


class AgentConfig(_Section, frozen=True):
    """One agent, one process.

    Attributes:
        id: unique in the grid.
        checkpoint: folder of a checkpoint, `model:NAME`, a rule such as `baseline:flat`, or a model
            server's as in `remote:http://HOST:PORT/v2/models/NAME?digest=DIGEST`.
        role: the champion's actions are traded, a standby's once the champion is gone, a shadow's
            are only recorded.
        remote: it is started by somebody else, on another machine.
    """

    id: Name
    checkpoint: Text
    role: Role = "shadow"
    remote: bool = False


class GridConfig(_Section, frozen=True):
    """A grid, as in `configs/grid.toml`.

    Attributes:
        name: of the grid; one of a name runs at a time.
        bus: endpoints that processes connect to, and bind where `bind` says nothing else.
        bind: endpoints that broker, feed and venue bind, where others reach them elsewhere: behind
            a relay or a router, or out of a container.
        recorder: what writes the session.
        feed: what is played.
        node: what trades.
        agents: what decides; exactly one is the champion.
        limits: on what may be traded and lost.
        security: whether the bus is encrypted, and with which key processes come to it.
        lakehouse: events as tables.
        gateway: REST, WebSocket and metrics; without the section there is none.
        kafka: events as records of Kafka.
        postgres: events as tables of PostgreSQL.
        alerts: messages to people.
        redis: orders of web clients in, events out.
        serving: a model server for agents whose checkpoint is `remote:...`, and for others.
    """

    name: Name
    feed: FeedConfig
    node: NodeConfig
    agents: Annotated[tuple[AgentConfig, ...], msgspec.Meta(min_length=1)]
    bus: Addresses = msgspec.field(default_factory=Addresses)
    bind: Addresses | None = None
    recorder: RecorderConfig = msgspec.field(default_factory=RecorderConfig)
    limits: Limits = msgspec.field(default_factory=Limits)
    security: Security = msgspec.field(default_factory=Security)
    gateway: GatewayConfig | None = None
    lakehouse: LakehouseConfig | None = None
    kafka: KafkaConfig | None = None
    postgres: PostgresConfig | None = None
    alerts: AlertsConfig | None = None
    redis: RedisConfig | None = None
    serving: ServingConfig | None = None

    @property
    def bridges(self) -> list[str]:
        """Names of the bridges that are switched on."""
        sections = {
            "lakehouse": self.lakehouse,
            "kafka": self.kafka,
            "postgres": self.postgres,
            "alerts": self.alerts,
            "redis": self.redis,
        }
        return [name for name, section in sections.items() if section and section.enabled]

    def __post_init__(self) -> None:
        ids = [a.id for a in self.agents]
        for i, agent_id in enumerate(ids):
            if agent_id in ids[:i]:
                raise ValueError(f"key agents[{i}].id: {agent_id!r} is taken by another agent")
        champions = [i for i, a in enumerate(self.agents) if a.role == "champion"]
        if len(champions) != 1:
            where = f"agents[{champions[1]}]" if champions else "agents"
            raise ValueError(f"key {where}.role: expected one champion, found {len(champions)}")
        if self.security.mode == "auto" and exposed(self.bus, self.bind):
            # one answer for all processes, whichever endpoints each of them sees
            secured = msgspec.structs.replace(self.security, mode="on")
            msgspec.structs.force_setattr(self, "security", secured)

    def agent(self, agent_id: str) -> AgentConfig | None:
        """Return the agent of that id, if there is one."""
        return next((a for a in self.agents if a.id == agent_id), None)


def seen_from(role: str, config: GridConfig) -> GridConfig:
    """Return the config as the process of a role needs it: `bus` has what it binds itself."""
    if config.bind is None:
        return config
    own = {name: getattr(config.bind, name) for name in _BINDS.get(role, ())}
    return msgspec.structs.replace(config, bus=msgspec.structs.replace(config.bus, **own))


def processes(
    config: GridConfig,
    argv_prefix: Sequence[str],
    config_path: Path,
    home: Home,
    overrides: Sequence[str] = (),
) -> list[ProcessSpec]:
    """Return the processes of a grid, in the order in which they start.

    Args:
        config: the grid.
        argv_prefix: of every command line, as in `(sys.executable, "launch.py")`.
        config_path: the file that the processes read `config` from.
        home: the folder that they work in.
        overrides: of the config, each `section.key=value`.
    """
    laid = tuple(part for override in overrides for part in ("--set", override))

    def argv(command: str, name: str, *more: str) -> tuple[str, ...]:
        common = ("--config", str(config_path), "--home", str(home.root), "--name", name)
        return (*argv_prefix, command, *more, *common, *laid)

    # the node and the agents load an engine and a network: on a busy machine that takes its time
    specs = [
        ProcessSpec(name="broker", argv=argv("broker", "broker"), ready_timeout_s=20),
        # a disk that is full must not end the trading
        ProcessSpec(
            name="recorder",
            argv=argv("record", "recorder"),
            essential=False,
            ready_timeout_s=30,
        ),
        ProcessSpec(name="feed", argv=argv("feed", "feed"), ready_timeout_s=30),
        ProcessSpec(name="venue", argv=argv("venue", "venue"), ready_timeout_s=30),
        ProcessSpec(
            name="node",
            argv=argv("node", "node"),
            ready_timeout_s=90,
            completes=config.node.stop_at_end,
        ),
    ]
    absent = {"recorder": not config.recorder.enabled, "venue": config.node.venue != "paper"}
    specs = [spec for spec in specs if not absent.get(spec.name, False)]
    if config.serving is not None:
        command = argv("serve", "serving")
        specs.append(ProcessSpec(name="serving", argv=command, essential=False, ready_timeout_s=90))
    for agent in (a for a in config.agents if not a.remote):
        name = f"agent-{agent.id}"
        command = argv("agent", name, "--id", agent.id)
        specs.append(ProcessSpec(name=name, argv=command, essential=False, ready_timeout_s=90))
    if config.gateway is not None:
        command = argv("gateway", "gateway")
        specs.append(ProcessSpec(name="gateway", argv=command, essential=False))
    for bridge in config.bridges:
        name = f"bridge-{bridge}"
        command = argv("bridge", name, bridge)
        specs.append(
            ProcessSpec(
                name=name,
                argv=command,
                essential=False,
                ready_timeout_s=90,
                beat_timeout_s=60,  # a commit may take its time
            )
        )
    return specs
