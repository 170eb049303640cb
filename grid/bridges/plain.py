"""Events with the names of their fields, which the wire leaves out. Pure."""

from typing import Any

import msgspec

from grid import wire


def as_json(event: wire.Event) -> bytes:
    """Return an event as a JSON object; `kind` is its tag, bytes are text."""
    return msgspec.json.encode({"kind": event.__struct_config__.tag, **_named(event)})


def _named(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return value.decode(errors="replace")
        case tuple() | list():
            return [_named(each) for each in value]
        case _:
            return value
