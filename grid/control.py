"""A person's word to a grid: halt, resume, flatten."""

import getpass
import socket
import time
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec

from grid import config, halt, wire
from grid.audit import Audit
from grid.bus import Addresses, Requester, new_context
from grid.errors import AccessError, BusError, ConfigError, ProtocolError
from grid.gridstate import running
from grid.halt import Halt
from grid.home import Home
from grid.identity import Identity, Security, identity_of
from grid.topology import GridConfig

type Verb = Literal["halt", "resume", "flatten"]

_REQUESTS: Final[dict[str, type[wire.Control]]] = {
    "halt": wire.Halt,
    "resume": wire.Resume,
    "flatten": wire.Flatten,
}
_ASK_S: Final = 1.0
_PATIENCE_S: Final = 5.0  # a broker or a node that was restarted is back by then


class Target(msgspec.Struct, frozen=True):
    """A grid to speak to; one known by its name alone has no addresses."""

    name: str
    strategy_id: str = ""
    addresses: Addresses | None = None
    security: Security = msgspec.field(default_factory=Security)


def find(where: str, home: Home) -> Target:
    """Return the running grid of that name, or the one of a config file.

    Raises:
        ConfigError: the file is wrong, or it is neither a file nor a grid that runs or is halted.
    """
    for state in running(home):
        if state.name == where:
            return Target(state.name, state.strategy_id, state.addresses, state.security)
    if Path(where).is_file():
        found = config.load(Path(where), GridConfig)
        return Target(found.name, found.node.strategy_id, found.bus, found.security)
    if _file(home, where).is_file():
        return Target(where)
    names = ", ".join(state.name for state in running(home)) or "none"
    raise ConfigError(
        f"{where}: expected a grid's config, or the name of one that runs or is halted in"
        f" {home.root}; running: {names}"
    )


def person() -> str:
    """Return who is at this terminal, as in `ann@desk`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def act(
    verb: Verb, target: Target, home: Home, *, by: str = "", reason: str = "", key: str = ""
) -> str:
    """Say it to the grid's node and return what is so from then on, in one sentence.

    A halt that no node answers is kept on disk, where a node that starts finds it; a halt of a grid
    that is not running is ended there.

    Args:
        verb: what is to be done.
        target: the grid.
        home: of keys and halts.
        by: who asks; with a key that is not the grid's own, the key's name counts.
        reason: for the audit log.
        key: to come with, where the grid is secured; by default the one that its config names.

    Raises:
        AccessError: the key cannot be used, or gives no right to do this.
        BusError: the node did not answer.
        ProtocolError: it answered what is no answer to this.
    """
    by = by or person()
    own = None
    if target.addresses is not None:
        own = identity_of(target.security, target.addresses, home.keys, key)
    try:
        reply = _ask(verb, target, by, reason, own)
    except BusError as e:
        runs = any(state.name == target.name for state in running(home))
        if verb == "flatten" or (verb == "resume" and runs):
            raise BusError(f"grid {target.name}: {e}") from e
        done = _on_disk(verb, target, home, by, reason)
        if verb == "halt" and target.addresses is not None:
            raise BusError(f"grid {target.name}: {e}; {done}") from e
        return f"grid {target.name}: {done}"
    said = [f"position {reply.position_qty:,.10g}", reply.state]
    if reply.reason:
        said.append(reply.reason)
    if reply.client_order_id:
        said.append(f"closing it with order {reply.client_order_id}")
    return f"grid {target.name}: {', '.join(said)}"


def _ask(
    verb: Verb, target: Target, by: str, reason: str, own: Identity | None
) -> wire.ControlReply:
    if target.addresses is None:
        raise BusError("no address is known")
    request = _REQUESTS[verb](target.strategy_id, uuid.uuid4().hex, by, reason)
    deadline_s = time.monotonic() + _PATIENCE_S
    context = new_context(own)
    requester = Requester(context, target.addresses.requests)
    why = f"no reply at {target.addresses.requests} within {_PATIENCE_S:g} s"
    try:
        while time.monotonic() < deadline_s:
            try:
                reply = requester.ask(request, _ASK_S)
            except BusError:
                continue  # the same request again: it has an id, and is done once
            match reply:
                case wire.ControlReply():
                    return reply
                case wire.Refused(retry=True):
                    why = reply.reason
                    time.sleep(0.1)
                case wire.Refused() if own is not None:
                    raise AccessError(f"{verb}: {reply.reason}")
                case _:
                    raise ProtocolError(f"{verb}: expected a ControlReply, found {reply}")
    finally:
        requester.close()
        context.destroy(linger=0)
    raise BusError(why)


def _on_disk(verb: Verb, target: Target, home: Home, by: str, reason: str) -> str:
    file = _file(home, target.name)
    wanted = Halt(by, reason, time.time_ns()) if verb == "halt" else None
    done = (wanted is None) != (halt.load(file) is None)
    if done:
        halt.save(file, wanted)
    audit = Audit(home.audit / f"{target.name}.jsonl", target.strategy_id, 0)
    audit.write(verb, by, reason, done=done)
    audit.close()
    return f"a node that starts {'is halted' if wanted else 'trades'}"


def _file(home: Home, name: str) -> Path:
    return home.halts / f"{name}.json"
