"""Commands of a Telegram chat to a grid: only those of allowed chats, each carried out once.

They go the way of `launch.py halt`, and are in the audit log with the chat's name. A command is
noted on disk before it is carried out, and one that is older than `STALE_S` is not: a flatten that
waited through an outage is no longer what its author meant.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlencode

import msgspec

from grid.durable import write_atomic
from grid.errors import ArgonautError, BridgeError

log = logging.getLogger(__name__)

type Verb = Literal["status", "positions", "halt", "resume", "flatten"]

POLL_S: Final = 20  # a question waits so long for an update
ANSWER_S: Final = 10.0
PAUSE_S: Final = 2.0  # after a failure
STALE_S: Final = 120
_VERBS: Final = ("status", "positions", "halt", "resume", "flatten")


class Command(msgspec.Struct, frozen=True):
    """What a chat asks for."""

    verb: Verb
    chat: int
    by: str
    reason: str
    sent_s: int


def command_of(update: Any, chats: Container[int]) -> Command | None:
    """Return the command in an update of the Bot API; None if it is none, or not of these chats."""
    message = update.get("message") if isinstance(update, dict) else None
    if not isinstance(message, dict):
        return None
    chat, text = message.get("chat"), message.get("text")
    if not isinstance(chat, dict) or not isinstance(text, str) or chat.get("id") not in chats:
        return None
    word, _, rest = text.strip().partition(" ")
    verb = word.partition("@")[0].removeprefix("/")
    if not word.startswith("/") or verb not in _VERBS:
        return None
    sender = message.get("from")
    names = [chat.get("title"), chat.get("username")]
    names += [sender.get("username"), sender.get("first_name")] if isinstance(sender, dict) else []
    name = next((n for n in names if isinstance(n, str) and n), str(chat["id"]))
    sent = message.get("date")
    return Command(
        cast("Verb", verb),
        chat["id"],
        f"telegram:{name}"[:60],
        rest.strip()[:500],
        sent if isinstance(sent, int) else 0,
    )


class Bot:
    """Listens to a bot's chats from a thread of its own.

    Args:
        api: where the Bot API is, as in `https://api.telegram.org`.
        token: of the bot; no log has it.
        chats: ids of those that are obeyed.
        file: of the number of the next update.
        act: carries a command out and returns what is to be answered.

    Attributes:
        obeyed: commands that were carried out.
        ignored: updates that were none, or came from other chats.
        stale: commands that came too late.
        failed: questions and answers that did not get through.
    """

    def __init__(
        self,
        api: str,
        token: str,
        chats: Container[int],
        file: Path,
        act: Callable[[Command], str],
    ) -> None:
        self.obeyed = 0
        self.ignored = 0
        self.stale = 0
        self.failed = 0
        self._base = f"{api.rstrip('/')}/bot{token}"
        self._chats = chats
        self._file = file
        self._act = act
        self._next = _load(file)

    def start(self) -> None:
        """Begin to listen; the thread ends with the process."""
        threading.Thread(target=self._work, name="telegram", daemon=True).start()

    def turn(self) -> None:
        """Wait for updates once, and do what they say."""
        asked = {"timeout": POLL_S, "offset": self._next}
        for update in self._call("getUpdates", asked, POLL_S + ANSWER_S):
            self._next = int(update["update_id"]) + 1
            write_atomic(self._file, str(self._next).encode())
            self._obey(update)

    def _obey(self, update: Any) -> None:
        command = command_of(update, self._chats)
        if command is None:
            self.ignored += 1
            return
        if time.time() - command.sent_s > STALE_S:
            self.stale += 1
            said = f"/{command.verb} came more than {STALE_S} s late and was not carried out"
        else:
            self.obeyed += 1
            try:
                said = self._act(command)
            except ArgonautError as e:
                said = str(e)
        self._call("sendMessage", {"chat_id": command.chat, "text": said}, ANSWER_S)

    def _work(self) -> None:
        while True:
            try:
                self.turn()
            except (OSError, ValueError, KeyError, TypeError) as e:
                self.failed += 1
                log.warning("telegram: %s", type(e).__name__)  # its text may have the token
                time.sleep(PAUSE_S)

    def _call(self, method: str, what: dict[str, Any], timeout_s: float) -> Any:
        request = urllib.request.Request(
            f"{self._base}/{method}", data=urlencode(what).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)["result"]


def _load(file: Path) -> int:
    try:
        return int(file.read_text())
    except FileNotFoundError:
        return 0
    except ValueError as e:
        raise BridgeError(f"{file}: expected the number of an update: {e}") from e
