"""The bridge's process: orders from Redis to the strategy, events from the bus to Redis.

An order leaves the stream in the same transaction that writes the strategy's answer. Until then it
is asked for again, by this process or by the next one, and the strategy carries it out once.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from grid import wire
from grid.bus import Addresses, Requester, new_context
from grid.errors import BridgeError, BusError
from grid.gateway import rows
from grid.gateway.hub import encode
from grid.gateway.listener import Listener
from grid.process import Lifeline
from grid.redis.config import Names, RedisConfig
from grid.redis.orders import KEPT_S, REPLIES, Asked, Reply, asked, reply_name

log = logging.getLogger(__name__)

GROUP: Final = "grid"
CONSUMER: Final = "bridge"  # one at a time: whoever comes after it goes on with what it had
_BATCH: Final = 32
_BLOCK_MS: Final = 200
_ASK_S: Final = 1.0
_PAUSE_S: Final = 0.2
_WAITING: Final = 100_000  # events that wait for a Redis that is away
_PIPELINE: Final = 500


def connect(url: str) -> Any:
    """Return a client that gives up within half a second, rather than wait for a dead server."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=1.0,
        socket_connect_timeout=0.5,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2),
    )


def run(
    config: RedisConfig,
    grid: str,
    strategy_id: str,
    addresses: Addresses,
    life: Lifeline,
    *,
    epoch: int,
    name: str,
) -> None:
    """Lead orders in and events out until `life.stopping`.

    Args:
        config: of the bridge.
        grid: its name.
        strategy_id: whose orders these are.
        addresses: of the grid.
        life: of this process.
        epoch: of this process.
        name: of this process.

    Raises:
        BusError: a part of it has failed.
    """
    names = config.names(grid)
    desk = Desk(connect(config.url), names, strategy_id, config)
    outbox = Outbox(connect(config.url), names, config)
    orders = threading.Thread(target=desk.run, args=(addresses,), name="orders", daemon=True)
    listener = Listener(
        addresses,
        name,
        epoch,
        lambda: {**desk.counts, **outbox.counts},
        orders.is_alive,
        life.beat,
        role="bridge",
        on_event=outbox.put,
    )
    orders.start()
    listener.start()
    life.ready()
    log.info("ready: orders from %s, events to %s", names.orders, names.events)
    try:
        while not life.stopping and listener.error is None and orders.is_alive():
            if not outbox.flush():
                time.sleep(0.02)
    finally:
        desk.stopping.set()
        listener.stop()
        orders.join(timeout=5.0)
        outbox.flush()
    if not life.stopping:
        raise BusError(f"the bridge failed: {desk.error or listener.error}")


class Desk:
    """Orders in: one thread.

    Attributes:
        counts: `orders`, `repeated`, `expired`, `invalid`, `redis_errors`, `unanswered`.
        error: why the thread ended, if it has failed.
    """

    def __init__(self, client: Any, names: Names, strategy_id: str, config: RedisConfig) -> None:
        self.counts = dict.fromkeys(
            ("orders", "repeated", "expired", "invalid", "redis_errors", "unanswered"), 0.0
        )
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._client = client
        self._names = names
        self._strategy_id = strategy_id
        self._config = config

    def run(self, addresses: Addresses) -> None:
        """Take orders until `stopping`."""
        context = new_context()
        requester = Requester(context, addresses.requests)
        try:
            while not self.stopping.is_set():
                with self._patience():
                    self._serve(requester)
        except BaseException as e:
            log.error("orders are taken no more", exc_info=e)
            self.error = e
        finally:
            requester.close()
            context.destroy(linger=0)

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Wait for a Redis that is away; what it holds is there when it comes back."""
        try:
            yield
        except redis.RedisError as e:
            self.counts["redis_errors"] += 1
            log.warning("Redis: %s", e)
            self.stopping.wait(_PAUSE_S)

    def _serve(self, requester: Requester) -> None:
        self._make_group()
        start = "0"  # first what was read and never answered, then what is new
        while not self.stopping.is_set():
            if start == "0":
                self._inherit()
            found = self._client.xreadgroup(
                GROUP, CONSUMER, {self._names.orders: start}, count=_BATCH, block=_BLOCK_MS
            )
            entries = found[0][1] if found else []
            if start == "0" and not entries:
                start = ">"
                continue
            for entry_id, fields in entries:
                if not self._settle(requester, entry_id, fields):
                    start = "0"  # it has the first turn again
                    self.stopping.wait(_PAUSE_S)
                    break

    def _make_group(self) -> None:
        try:
            self._client.xgroup_create(self._names.orders, GROUP, id="0", mkstream=True)
        except redis.ResponseError as e:
            if "BUSYGROUP" not in str(e):
                raise

    def _inherit(self) -> None:
        """Take over what other consumers of the group have left lying."""
        self._client.xautoclaim(
            self._names.orders, GROUP, CONSUMER, min_idle_time=1_000, count=_BATCH
        )

    def _settle(self, requester: Requester, entry_id: bytes, fields: Any) -> bool:
        """Ask the strategy and write its answer; say whether there was one."""
        if not fields:  # deleted by somebody
            self._client.xack(self._names.orders, GROUP, entry_id)
            return True
        try:
            entry = asked(fields)
        except BridgeError as e:
            self.counts["invalid"] += 1
            self._answer(entry_id, Asked(key=entry_id.decode()), "invalid", str(e))
            return True
        age_s = time.time() - int(entry_id.partition(b"-")[0]) / 1e3
        if age_s > self._config.order_ttl_s and entry.act == "order":
            self.counts["expired"] += 1
            said = f"it has waited for {age_s:.1f} s, {self._config.order_ttl_s:g} s are allowed"
            self._answer(entry_id, entry, "expired", said)
            return True
        try:
            reply = requester.ask(entry.request(self._strategy_id, self._config.by), _ASK_S)
        except BusError as e:
            self.counts["unanswered"] += 1
            log.warning("order %s: %s", entry.key, e)
            return False
        match reply:
            case wire.ManualReply(status=status, reason=reason):
                self.counts["repeated" if status == "duplicate" else "orders"] += 1
                self._answer(entry_id, entry, status, reason)
            case wire.Refused(retry=True):
                return False
            case wire.Refused(reason=reason):
                self._answer(entry_id, entry, "refused", reason)
            case _:
                return False
        return True

    def _answer(self, entry_id: bytes, entry: Asked, status: Any, reason: str) -> None:
        reply = Reply(
            key=entry.key,
            client_order_id=entry.client_order_id,
            act=entry.act,
            status=status,
            reason=reason,
        )
        text, names = msgspec.json.encode(reply), self._names
        with self._client.pipeline(transaction=True) as all_or_none:
            all_or_none.set(reply_name(names, entry.key, entry.act), text, ex=KEPT_S)
            all_or_none.xadd(names.replies, {"reply": text}, maxlen=REPLIES, approximate=True)
            all_or_none.xack(names.orders, GROUP, entry_id)
            all_or_none.xdel(names.orders, entry_id)
            all_or_none.execute()


class Outbox:
    """Events out: put in by the listener's thread, flushed by another.

    Attributes:
        counts: `events_out`, `events_dropped`, `events_known`, `events_failed`.
    """

    def __init__(self, client: Any, names: Names, config: RedisConfig) -> None:
        self.counts = dict.fromkeys(
            ("events_out", "events_dropped", "events_known", "events_failed"), 0.0
        )
        self._client = client
        self._names = names
        self._config = config
        self._waiting: deque[rows.Event] = deque()
        self._sent: dict[str, int] | None = None  # as Redis has it; None: not read yet

    def put(self, event: rows.Event) -> None:
        """Queue an event, if its topic goes out; the oldest goes where there is no room."""
        if not event.topic.startswith(self._config.topics):
            return
        if len(self._waiting) >= _WAITING:
            self._waiting.popleft()
            self.counts["events_dropped"] += 1
        self._waiting.append(event)

    def flush(self) -> bool:
        """Send what waits, each event once; say whether anything went out."""
        part = [self._waiting.popleft() for _ in range(min(_PIPELINE, len(self._waiting)))]
        if not part:
            return False
        try:
            self._send(part)
        except redis.RedisError as e:
            # whether it went out is not known: what Redis has then says it
            self._sent = None
            self._waiting.extendleft(reversed(part))
            self.counts["events_failed"] += 1
            log.warning("Redis: %s; %d events wait", e, len(self._waiting))
            time.sleep(_PAUSE_S)
            return False
        return True

    def _send(self, part: list[rows.Event]) -> None:
        if self._sent is None:
            found = self._client.hgetall(self._names.positions)
            self._sent = {stream.decode(): int(seq) for stream, seq in found.items()}
        names, sent, out = self._names, dict(self._sent), 0
        with self._client.pipeline(transaction=True) as all_or_none:
            for event in part:
                stream = f"{event.source} {event.epoch} {event.topic}"
                if event.seq <= sent.get(stream, 0):
                    self.counts["events_known"] += 1
                    continue
                sent[stream] = event.seq
                out += 1
                text = encode(event)
                fields = {"topic": event.topic, "type": event.type, "event": text}
                all_or_none.xadd(
                    names.events, fields, maxlen=self._config.events_maxlen, approximate=True
                )
                if self._config.pubsub:
                    all_or_none.publish(names.events, text)
            if changed := {k: v for k, v in sent.items() if self._sent.get(k) != v}:
                all_or_none.hset(names.positions, mapping=changed)
                all_or_none.execute()
        self.counts["events_out"] += out
        self._sent = sent
