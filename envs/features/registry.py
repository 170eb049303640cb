"""Finds a feature by its text: a shipped one, or one's own by its dotted path."""

import importlib
from collections.abc import Sequence
from typing import Final

from envs.features import bar, book, clock, price, quote, trade, volume
from envs.features.kernel import REGISTRY, Declared, Feature
from grid.errors import ConfigError

# each declares its kernels as it is imported
SHIPPED: Final = (price, bar, volume, quote, book, trade, clock)
LEVELS: Final = "levels"  # stands for these, of each level
EACH_LEVEL: Final = ("bid_ticks", "ask_ticks", "bid_size", "ask_size")


def parse(text: str) -> Feature:
    """Read `name:int:int` or `module:kernel:int` as a feature.

    Raises:
        ConfigError: the name is unknown, its module fails, or the parameters do not fit it.
    """
    name, *args = text.split(":")
    if name not in REGISTRY and args and args[0].isidentifier():
        module, name = name, f"{name}:{args.pop(0)}"
        if name not in REGISTRY:
            _import(text, module)
        if name not in REGISTRY:
            raise ConfigError(f"feature {text!r}: module {module} declares no such kernel")
    if name not in REGISTRY:
        known = ", ".join(sorted(n for n in REGISTRY if ":" not in n))
        raise ConfigError(
            f"unknown feature {name!r}; there are: {known}, and one's own as module:kernel"
        )
    try:
        params = tuple(int(a) for a in args)
        found = Feature(text, REGISTRY[name], params)
        usable = found.lookback >= 1 and all(p >= 1 for p in params)
    except (TypeError, ValueError) as e:
        takes = ":".join((name, *REGISTRY[name].params))
        raise ConfigError(
            f"feature {text!r}: parameters do not fit: expected {takes}, whole numbers from 1"
        ) from e
    if not usable:
        raise ConfigError(f"feature {text!r}: parameters must be whole numbers from 1")
    return found


def expand(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the features with `levels:k` spelled out: price and size of the best k levels."""
    found: list[str] = []
    for text in texts:
        name, _, count = text.partition(":")
        if name == LEVELS and count.isdecimal():
            found += (f"{each}:{i}" for i in range(1, int(count) + 1) for each in EACH_LEVEL)
        else:
            found.append(text)
    return tuple(found)


def shipped() -> list[Declared]:
    """Return what is declared here, file by file."""
    modules = [m.__name__ for m in SHIPPED]
    found = [d for d in REGISTRY.values() if d.kernel.__module__ in modules]
    return sorted(found, key=lambda d: modules.index(d.kernel.__module__))


def _import(text: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as e:  # a person's own module may fail in any way
        raise ConfigError(
            f"feature {text!r}: module {module} cannot be imported: {type(e).__name__}: {e}"
        ) from e
