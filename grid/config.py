"""TOML in, typed struct out: one declaration gives the file, the flags and the checks.

A config is a frozen msgspec struct that forbids unknown fields. `load` reads a file, lays flag
overrides over it, and validates the whole once more, so that late nonsense dies here too.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from grid.errors import ConfigError

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def load[T](path: Path, kind: type[T], overrides: Iterable[str] = ()) -> T:
    """Read the TOML file at `path` as a `kind`, with `key.path=value` overrides laid over it.

    Args:
        path: the TOML file.
        kind: a msgspec struct type.
        overrides: each `section.key=value`; the value is TOML, or else a bare string.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, or a value is wrong; the
            message carries the file and the path of the key.
    """
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from e
    for override in overrides:
        _lay(tree, override)
    return convert(tree, kind, str(path))


def convert[T](tree: Any, kind: type[T], where: str) -> T:
    """Validate a plain tree as a `kind`; `where` names its origin in the error."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {_sentence(str(e))}") from e


def dump(config: msgspec.Struct) -> dict[str, Any]:
    """Return a config as the plain tree that `convert` reads back."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    return tree


def _sentence(text: str) -> str:
    """`Expected `int`, got `str` - at `$.a.b`` becomes `key a.b: expected int, found str`."""
    match = _AT.search(text)
    path = match["path"] if match else ""
    said = text[: match.start()] if match else text
    said = said.replace("`", "").replace(", got ", ", found ")
    said = said[:1].lower() + said[1:]
    if said.startswith("object contains unknown field "):
        field = said.removeprefix("object contains unknown field ")
        return f"unknown key {'.'.join(filter(None, (path, field)))}"
    if said.startswith("object missing required field "):
        field = said.removeprefix("object missing required field ")
        return f"missing key {'.'.join(filter(None, (path, field)))}"
    return f"key {path}: {said}" if path else said


def _lay(tree: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(f"override {override!r}: expected section.key=value")
    for i, part in enumerate(parts[:-1]):
        section = tree.setdefault(part, {})
        if not isinstance(section, dict):
            found = ".".join(parts[: i + 1])
            raise ConfigError(f"override {override!r}: {found} is a value, not a section")
        tree = section
    tree[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
