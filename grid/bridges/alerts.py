"""The sink that tells people: rules make alerts of events, apprise sends them.

Alerts are on disk before the position passes what they tell, and leave it after they were sent: a
crash loses none, and repeats one only if it falls between the two. On a disk that is full they are
sent nevertheless.
"""

import importlib
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from grid import wire
from grid.bridges.config import AlertsConfig
from grid.bridges.outbox import Kept, Outbox
from grid.bridges.position import Mark, Position
from grid.bridges.rules import Rules, State
from grid.durable import write_atomic
from grid.errors import BridgeError, ConfigError, ProtocolError
from grid.mender import Arrived

log = logging.getLogger(__name__)

TOPICS: Final = ("exec.",)
SAVE_S: Final = 1.0
END_S: Final = 2.0  # at the end, for what waits


class Saved(msgspec.Struct):
    """What outlives a start."""

    position: tuple[Mark, ...] = ()
    saved_ns: int = 0
    state: State = msgspec.field(default_factory=State)
    kept: Kept = msgspec.field(default_factory=Kept)


def load(file: Path) -> Saved:
    """Return what was saved, nothing if there is no such file.

    Raises:
        BridgeError: it is damaged.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Saved)
    except FileNotFoundError:
        return Saved()
    except msgspec.MsgspecError as e:
        raise BridgeError(f"{file}: expected what alerts have saved: {e}") from e


class Sender:
    """Sends one message at a time, from a thread of its own: receivers may take seconds.

    Args:
        urls: addresses of apprise.

    Raises:
        ConfigError: apprise is not installed, or does not know an address.
    """

    def __init__(self, urls: list[str]) -> None:
        try:
            apprise = importlib.import_module("apprise")
        except ImportError:
            raise ConfigError(
                "alerts: expected the package apprise, found none: install argonaut-nt[alerts]"
            ) from None
        self._apprise: Any = apprise.Apprise()
        for n, url in enumerate(urls):
            if not self._apprise.add(url):
                kind = url.partition(":")[0]
                raise ConfigError(
                    f"alerts: expected addresses that apprise knows, found number {n + 1}, "
                    f"of kind {kind!r}, that is not one"
                )
        self._todo: queue.Queue[tuple[str, str]] = queue.Queue(1)
        self._done: queue.Queue[bool] = queue.Queue(1)
        threading.Thread(target=self._work, name="alerts", daemon=True).start()

    def send(self, title: str, text: str) -> None:
        """Begin with a message; the one before must be done."""
        self._todo.put_nowait((title, text))

    def done(self) -> bool | None:
        """Return whether the message was sent to all, once that is known."""
        try:
            return self._done.get_nowait()
        except queue.Empty:
            return None

    def _work(self) -> None:
        while True:
            title, text = self._todo.get()
            try:
                ok = bool(self._apprise.notify(body=text, title=title))
            except Exception as e:  # of whatever library an address needs
                log.warning("a message could not be sent: %s", type(e).__name__)
                ok = False
            self._done.put(ok)


class AlertSink:
    """Makes alerts and has them sent.

    Args:
        grid: name of the grid.
        config: of the alerts.
        file: of what outlives a start.
        sender: of the messages.
        now_ns: UNIX ns.
    """

    full = False

    def __init__(
        self, grid: str, config: AlertsConfig, file: Path, sender: Sender, now_ns: int
    ) -> None:
        self._saved = load(file)
        self.position = Position(self._saved.position)
        self.saved_ns = self._saved.saved_ns
        self._file = file
        self._sender = sender
        self._outbox = Outbox(self._saved.kept, config.per_minute)
        self._rules = Rules(
            grid,
            self._saved.state,
            now_ns,
            fill_qty=config.fill_qty,
            silent_s=config.silent_s,
            summary=config.summary,
        )
        self._changed = False
        self._unsaved = 0
        self._save_s = 0.0
        self._beats: dict[str, wire.Heartbeat] = {}

    def status(self) -> str:
        """Return a line for each process that was heard of; from any thread."""
        beats = sorted(self._beats.copy().items())
        return (
            "\n".join(f"{name}: {b.state}, {b.uptime_s:,.0f} s" for name, b in beats) or "nothing"
        )

    def positions(self) -> str:
        """Return a line for each process that tells a position; from any thread."""
        told = [
            f"{name}: {beat.counters['position_qty']:,.10g}"
            for name, beat in sorted(self._beats.copy().items())
            if "position_qty" in beat.counters
        ]
        return "\n".join(told) or "nothing"

    def put(self, arrived: Arrived) -> None:
        """Take the next event."""
        _, topic, envelope, _ = arrived
        try:
            event = wire.event(envelope)
        except ProtocolError:
            return  # of a kind that only later versions know
        if isinstance(event, wire.Heartbeat):
            self._beats[event.name] = event
        for alert in self._rules.take(envelope, event, time.time_ns()):
            self._outbox.put(alert)
            self._save_s = 0.0
        if not topic.startswith("sys."):
            self.position.advance(envelope.source, envelope.epoch, topic, envelope.seq)
            self._changed = True

    def turn(self, now_s: float) -> None:
        """Do what is due."""
        for alert in self._rules.tick(time.time_ns()):
            if self._outbox.put(alert):
                self._changed, self._save_s = True, 0.0
        if (ok := self._sender.done()) is not None:
            self._outbox.done(ok, now_s)
            self._changed, self._save_s = True, 0.0
        if self._changed and now_s - self._save_s >= SAVE_S:
            self._save(now_s)
        if (message := self._outbox.next(now_s)) is not None:
            self._sender.send(*message)

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        outbox = self._outbox
        return {
            "sent": float(outbox.sent),
            "waiting": float(len(outbox.kept.waiting)),
            "known": float(outbox.repeated),
            "dropped_alerts": float(outbox.dropped),
            "failed": float(outbox.failed),
            "unsaved": float(self._unsaved),
        }

    def close(self) -> None:
        """Send what waits, for a moment; the rest is sent after the next start."""
        until_s = time.monotonic() + END_S
        while self._outbox.kept.waiting and time.monotonic() < until_s:
            self.turn(time.monotonic())
            time.sleep(0.01)
        self._save(time.monotonic())

    def _save(self, now_s: float) -> None:
        self._saved.position = self.position.marks()
        self._saved.saved_ns = time.time_ns()
        self._save_s = now_s
        try:
            write_atomic(self._file, msgspec.json.encode(self._saved))
        except OSError as e:  # a disk that is full is no reason to tell nobody anything
            self._changed = True
            self._unsaved += 1
            log.warning("%s: not written: %s", self._file, e)
        else:
            self._changed = False
