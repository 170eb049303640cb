"""Messages of a grid arrive at a real receiver, once each, whatever is killed."""

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from grid.bridges.alerts import Sender, load
from grid.bus import Addresses
from grid.errors import ConfigError
from tests.support.grids import Grid
from tests.support.procs import Procs, until


class Receiver:
    """Takes what apprise posts to `json://`; refuses the first message."""

    def __init__(self) -> None:
        self.refused = 0
        self.messages: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ok = outer.refused > 0
                if ok:
                    outer.messages.append(msgspec.json.decode(body))
                outer.refused += not ok
                self.send_response(200 if ok else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

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
    grid = Grid(tmp_path, addresses, feed={"speed": 3}, agents="[alerts]\n")
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
    resume = grid.control(procs, "resume")
    assert resume.wait() == 0, resume.text
    until(lambda: "test: trades again" in receiver.titles(), "its end")
    up.popen.send_signal(signal.SIGINT)
    assert up.wait() == 0
    assert receiver.titles() == ["test: halted", "test: trades again"]
    assert receiver.url not in file.read_text()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise looks whether it is there
def test_address_that_nobody_knows_is_refused_without_being_told() -> None:
    with pytest.raises(ConfigError, match="number 2, of kind 'nobody', that is not one") as found:
        Sender(["json://localhost", "nobody://secret"])
    assert "secret" not in str(found.value)
