"""A session as JSON in MCAP, for viewers such as Foxglove, which read no MessagePack.

A recording holds each event as it came, an array of fields without names. Here each is an object
with names, and a channel holds one kind of event: `exec.S-1/fill`, `md.EUR/USD.SIM.bar`.
"""

from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

import foxglove
import msgspec

from grid import wire
from grid.errors import ProtocolError, SessionError
from grid.session import Session


def write(session: Session, file: Path) -> int:
    """Write all events of a session to `file` and return how many; unknown kinds are left out.

    Raises:
        SessionError: the file is there already, or the disk refused it.
    """
    context = foxglove.Context()
    channels: dict[tuple[str, type], foxglove.Channel] = {}
    written = 0
    try:
        with foxglove.open_mcap(file, context=context):
            for topic, envelope, ts_recv_ns in session:
                try:
                    event = wire.event(envelope)
                except ProtocolError:
                    continue
                kind = type(event)
                if (topic, kind) not in channels:
                    channels[topic, kind] = _channel(topic, kind, context)
                named = msgspec.convert(event, _twin(kind), from_attributes=True)
                channels[topic, kind].log(msgspec.json.encode(named), log_time=ts_recv_ns)
                written += 1
    except (OSError, RuntimeError) as e:
        raise SessionError(f"{file}: cannot be written: {e}") from e
    return written


def schema_of(kind: type[wire.Event]) -> dict[str, Any]:
    """Return the JSON schema of a kind's objects, as viewers want it: an object at its root."""
    schema: dict[str, Any] = msgspec.json.schema(_twin(kind))
    definitions: dict[str, Any] = schema["$defs"]
    root: dict[str, Any] = definitions.pop(kind.__name__)
    for each in (root, *definitions.values()):
        for field in each["properties"].values():
            if "enum" in field:
                field["type"] = "string"
    return {**root, **({"$defs": definitions} if definitions else {})}


def _channel(topic: str, kind: type[wire.Event], context: foxglove.Context) -> foxglove.Channel:
    single = topic.startswith(("md.", "decision.", "sys."))
    schema = foxglove.Schema(
        name=f"argonaut.{kind.__name__}",
        encoding="jsonschema",
        data=msgspec.json.encode(schema_of(kind)),
    )
    tag = kind.__struct_config__.tag
    return foxglove.Channel(
        topic if single else f"{topic}/{tag}",
        schema=schema,
        message_encoding="json",
        context=context,
    )


@cache
def _twin(kind: type[Any]) -> type[msgspec.Struct]:
    """Return a struct with the fields of `kind` that is an object in JSON, not an array."""
    hints = get_type_hints(kind)
    fields = [(name, _named(hints[name])) for name in kind.__struct_fields__]
    return msgspec.defstruct(kind.__name__, fields)


def _named(hint: Any) -> Any:
    """Return a field's type with structs in it replaced by their twins."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _twin(hint)
    if isinstance(hint, GenericAlias):
        origin: Any = get_origin(hint)
        return origin[tuple(_named(each) for each in get_args(hint))]
    return hint
