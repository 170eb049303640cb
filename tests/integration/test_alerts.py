"""Messages of a grid arrive at a real receiver, once each, whatever is killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from grid import wire
from grid.bridges.alerts import AlertSink, Sender, load
from grid.bridges.config import AlertsConfig
from grid.bus import Addresses
from grid.errors import ConfigError
from grid.mender import Arrived
from tests.support.disks import fill, small_disk
from tests.support.grids import Grid
from tests.support.procs import Procs, until

__all__ = ["small_disk"]

TOKEN = "12:secret"
CHAT, STRANGER = 42, 7


class Receiver:
    """Takes what apprise posts to `json://`, and refuses the first message; answers as a bot's API.

    Telegram itself cannot be reached from a test: this is the part of its Bot API that is used.
    """

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.said: list[tuple[str, str]] = []  # chat, text
        self.refused = 0
        self.messages: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                method = self.path.rpartition("/")[2]
                if method in ("getUpdates", "sendMessage"):
                    assert self.path == f"/bot{TOKEN}/{method}"
                    self._answer(outer.bot(method, parse_qs(body.decode())))
                    return
                ok = outer.refused > 0
                if ok:
                    outer.messages.append(msgspec.json.decode(body))
                outer.refused += not ok
                self.send_response(200 if ok else 503)
                self.end_headers()

            def _answer(self, result: object) -> None:
                body = msgspec.json.encode({"ok": True, "result": result})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def bot(self, method: str, said: dict[str, list[str]]) -> object:
        """Answer a question to the bot's API."""
        if method == "sendMessage":
            self.said.append((said["chat_id"][0], said["text"][0]))
            return {}
        offset = int(said["offset"][0])
        deadline_s = time.monotonic() + 0.2
        while time.monotonic() < deadline_s:
            if found := [u for u in self.updates if u["update_id"] >= offset]:
                return found
            time.sleep(0.01)
        return []

    def tell(self, chat: int, text: str, *, age_s: int = 0) -> None:
        """Say something in a chat with the bot."""
        message = {
            "chat": {"id": chat, "title": "desk"}, "text": text, "date": int(time.time()) - age_s,
        }  # fmt: skip
        self.updates.append({"update_id": 100 + len(self.updates), "message": message})

    def ask(self, text: str, *, age_s: int = 0) -> str:
        """Say something in the allowed chat and return the answer."""
        before = len(self.said)
        self.tell(CHAT, text, age_s=age_s)
        until(lambda: len(self.said) > before, f"an answer to {text}")
        return self.said[-1][1]

    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_halt_and_resume_are_told_once_though_the_bridge_is_killed_between(
    procs: Procs,
    addresses: Addresses,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARGONAUT_ALERTS", receiver.url)
    monkeypatch.setenv("ARGONAUT_TELEGRAM_TOKEN", TOKEN)
    where = receiver.url.replace("json://", "http://")
    section = f'[alerts]\ntelegram_chats = [{CHAT}]\ntelegram_api = "{where}"\n'
    grid = Grid(tmp_path, addresses, feed={"speed": 3}, agents=section)
    up = grid.up(procs)
    up.expect("ready bridge-alerts", 90.0)
    pid = grid.pid_of("bridge-alerts")
    halt = grid.control(procs, "halt", "--reason", "odd fills")
    assert halt.wait() == 0, halt.text
    until(lambda: "test: halted" in receiver.titles(), "the halt")
    assert receiver.refused == 1
    assert "odd fills" in receiver.messages[0]["message"]
    file = grid.home.bridges / "test.alerts.json"
    until(lambda: not load(file).kept.waiting, "it to be taken note of")
    os.kill(pid, signal.SIGKILL)
    until(lambda: grid.pid_of("bridge-alerts") != pid, "its successor")
    receiver.tell(STRANGER, "/flatten")
    assert "was not carried out" in receiver.ask("/flatten", age_s=3_600)
    until(lambda: receiver.ask("/positions").startswith("node: "), "a heartbeat of the node")
    assert "node: halted, " in receiver.ask("/status")
    assert "trading" in receiver.ask("/resume all well")
    until(lambda: "test: trades again" in receiver.titles(), "its end")
    assert {chat for chat, _ in receiver.said} == {str(CHAT)}
    audit = (grid.home.audit / "test.jsonl").read_text()
    assert "telegram:desk" in audit
    assert "all well" in audit
    assert "flatten" not in audit
    up.popen.send_signal(signal.SIGINT)
    assert up.wait() == 0
    assert receiver.titles() == ["test: halted", "test: trades again"]
    assert receiver.url not in file.read_text()
    assert TOKEN not in (grid.home.logs / "test" / "bridge-alerts.log").read_text()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise looks whether it is there
def test_address_that_nobody_knows_is_refused_without_being_told() -> None:
    with pytest.raises(ConfigError, match="number 2, of kind 'nobody', that is not one") as found:
        Sender(["json://localhost", "nobody://secret"])
    assert "secret" not in str(found.value)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_alert_is_told_although_the_disk_is_full(small_disk: Path, receiver: Receiver) -> None:
    file = small_disk / "alerts.json"
    sink = AlertSink("test", AlertsConfig(), file, Sender([receiver.url]), time.time_ns())
    filler = fill(small_disk)
    halted = wire.Halted("S-1", 1, "limits", "loss", 1, 1)
    frame = wire.pack("exec.S-1", "node", 1, 1, time.time_ns(), halted)
    sink.put(Arrived(0, *wire.unpack(frame), frame))

    def turned(fact: Callable[[], bool]) -> bool:
        sink.turn(time.monotonic())
        return fact()

    until(lambda: turned(lambda: receiver.titles() == ["test: halted"]), "the alert")
    assert not file.exists()
    assert sink.counters()["unsaved"] > 0
    filler.unlink()
    until(lambda: turned(file.exists), "what is kept")
    until(lambda: turned(lambda: not load(file).kept.waiting), "the alert to be off the disk")
    sink.close()
    assert receiver.titles() == ["test: halted"]
