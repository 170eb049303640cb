"""What a process needs to make its env, as plain data."""

from functools import reduce
from importlib import import_module
from typing import Any

import gymnasium
import msgspec

from grid.errors import ConfigError


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Makes an env out of its fields; a subclass must be importable, for it travels by name.

    Fields are plain data, structs of it, and what a text tells whole, as a path.
    """

    def make(self) -> gymnasium.Env[Any, Any]:
        """Return the env."""
        raise NotImplementedError

    def info_types(self) -> dict[str, Any]:
        """Return the types of those entries of `info` that plain data does not tell."""
        return {}


def plain(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """Return a recipe as plain data.

    Raises:
        ConfigError: its class cannot be imported elsewhere.
    """
    path = path_of(type(recipe))
    if path.startswith("__main__:") or "<locals>" in path:
        raise ConfigError(f"vector env: expected a recipe of an importable class, found {path}")
    return path, msgspec.to_builtins(recipe, enc_hook=str)


def made_of(path: str, tree: dict[str, Any]) -> Recipe:
    """Return the recipe that `plain` was given."""
    module, _, name = path.partition(":")
    kind: type[Recipe] = reduce(getattr, name.split("."), import_module(module))  # type: ignore[assignment]
    return msgspec.convert(tree, kind, dec_hook=lambda of, text: of(text))


def path_of(kind: type) -> str:
    """Return where a class can be imported from, as `module:Name`."""
    return f"{kind.__module__}:{kind.__qualname__}"
