"""TOML in, typed struct out: one declaration gives the file, the flags and the checks.

A config is a frozen msgspec struct that forbids unknown fields. `load` reads a file, lays flag
overrides over it, and validates the whole once more, so that late nonsense dies here too. A
`description` in a type's `Meta` says in words what its pattern means.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from grid.errors import ConfigError

_AT: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_STEP: Final = re.compile(r"[^.\[\]]+")  # of a path, as in agents[1].id
_FIELD: Final = re.compile(r"object (contains unknown|missing required) field (?P<field>.*)")


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
    return convert(read(path, overrides), kind, str(path))


def read(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the plain tree of a TOML file, with overrides laid over it; see `load`.

    Raises:
        ConfigError: the file is missing or not TOML, or an override has no place.
    """
    try:
        tree: dict[str, Any] = _plain(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from e
    for override in overrides:
        lay(tree, override)
    return tree


def convert[T](tree: Any, kind: type[T], where: str) -> T:
    """Validate a plain tree as a `kind`; `where` names its origin in the error."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {_sentence(str(e), tree, kind)}") from e


def checked(made: msgspec.Struct, where: str) -> None:
    """Refuse a struct that code has made with values that a file could not have.

    Raises:
        ConfigError: with the key.
    """
    convert(msgspec.to_builtins(made), type(made), where)


def dump(config: msgspec.Struct) -> dict[str, Any]:
    """Return a config as the plain tree that `convert` reads back; TOML can hold all of it."""
    tree: dict[str, Any] = _without_none(msgspec.to_builtins(config))
    return tree


def _without_none(tree: Any) -> Any:
    match tree:
        case dict():
            return {key: _without_none(value) for key, value in tree.items() if value is not None}
        case list() | tuple():
            return [_without_none(value) for value in tree]
        case _:
            return tree


def digest(tree: dict[str, Any]) -> str:
    """Return 32 hex digits that change with any key or value of a resolved config."""
    canonical = msgspec.json.encode(tree, order="sorted")
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _sentence(text: str, tree: Any, kind: Any) -> str:
    """`Expected `int`, got `str` - at `$.a.b`` becomes `key a.b: expected int, found str`."""
    match = _AT.search(text)
    path = match["path"] if match else ""
    said = (text[: match.start()] if match else text).replace("`", "").replace(", got ", ", found ")
    said = said[:1].lower() + said[1:]
    try:
        found, wanted = _at(path, tree, inspect.type_info(kind))
    except (LookupError, TypeError):  # a path without indices, through a mapping
        found, wanted = None, ""
    if field := _FIELD.fullmatch(said):
        key = ".".join(filter(None, (path, field["field"])))
        return f"missing key {key}" if "missing" in said else f"unknown key {key}; {wanted}"
    if wanted and said.startswith(("invalid", "expected str matching")):
        said = f"expected {wanted}"
    if said.startswith("expected") and "found" not in said and isinstance(found, str | int | float):
        said += f", found {found!r}"
    said = said.replace("expected object", "expected table").replace("found object", "found table")
    return f"key {path}: {said}" if path else said


def _at(path: str, value: Any, kind: inspect.Type) -> tuple[Any, str]:
    """Return the value at a path, and in words what is wanted there."""
    wanted = ""
    for step in _STEP.findall(path):
        kinds, inner = _kinds(kind), []
        for k in kinds:
            if isinstance(k, inspect.StructType):
                if _is(k, value) or step == k.tag_field:
                    inner += [f.type for f in k.fields if f.encode_name == step]
            elif isinstance(k, inspect.TupleType):
                inner.append(k.item_types[int(step)])
            else:
                inner.append(getattr(k, "item_type", inspect.AnyType()))
        structs = (k for k in kinds if isinstance(k, inspect.StructType))
        tags = [str(k.tag) for k in structs if k.tag_field == step]
        wanted = f"one of {', '.join(tags)}" if tags else ""
        value = value[int(step) if isinstance(value, list | tuple) else step]
        kind = inspect.UnionType(tuple(inner))
    return value, wanted or _words(kind, value)


def _words(kind: inspect.Type, value: Any) -> str:
    words: list[str] = []
    for k in _kinds(kind):
        if isinstance(k, inspect.Metadata):
            words.append((k.extra_json_schema or {}).get("description", ""))
        elif isinstance(k, inspect.LiteralType):
            words.append(f"one of {', '.join(map(str, k.values))}")
        elif isinstance(k, inspect.IntType | inspect.FloatType):
            words.append("a number")
        elif isinstance(k, inspect.StructType) and _is(k, value):
            words.append(f"there are {', '.join(f.encode_name for f in k.fields)}")
    return ", or ".join(filter(None, words))


def _is(kind: inspect.StructType, value: Any) -> bool:
    return isinstance(value, dict) and value.get(kind.tag_field, kind.tag) == kind.tag


def _kinds(kind: inspect.Type) -> list[inspect.Type]:
    """Return the alternatives of a type; a `Metadata` comes before the type that it is about."""
    if isinstance(kind, inspect.UnionType):
        return [k for t in kind.types for k in _kinds(t)]
    if isinstance(kind, inspect.Metadata):
        return [kind, *_kinds(kind.type)]
    return [kind]


def lay(tree: dict[str, Any], override: str) -> None:
    """Put the value of `section.key=value` into a plain tree.

    Raises:
        ConfigError: it is none, or leads through a value.
    """
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
        return _plain(tomllib.loads(f"v = {text}")["v"])
    except tomllib.TOMLDecodeError:
        return text


def _plain(value: Any) -> Any:
    """Return a tree with its dates and times as ISO text: with or without quotes is the same."""
    match value:
        case dict():
            return {key: _plain(v) for key, v in value.items()}
        case list():
            return [_plain(v) for v in value]
        case date() | time():
            return value.isoformat()
        case _:
            return value
