"""Axes of a grid: key paths of a run's config, each with the values that it takes."""

import itertools
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import msgspec
import numpy as np

from grid.errors import ConfigError

KINDS: Final = ("range", "uniform", "log_uniform", "int_uniform", "choice")

type Point = dict[str, Any]  # key path -> value


class Draw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the values of an axis come from, if not from a list; exactly one is given.

    Attributes:
        range: first, last and step; the last is included where a step hits it.
        uniform: least and greatest.
        log_uniform: least and greatest, both above 0; even in the logarithm.
        int_uniform: least and greatest, both included.
        choice: any values.
    """

    range: tuple[float, float, float] | None = None
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    int_uniform: tuple[int, int] | None = None
    choice: list[Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what has no values."""
        given = [k for k in KINDS if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(KINDS)}, found {given or 'none'}")
        if self.range is not None and not (self.range[2] > 0 and self.range[1] >= self.range[0]):
            raise ValueError(f"range: expected [first, last, step > 0], found {list(self.range)}")
        for bounds in (self.uniform, self.log_uniform, self.int_uniform):
            if bounds is not None and not bounds[0] < bounds[1]:
                raise ValueError(f"{given[0]}: expected [least, greatest], found {list(bounds)}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform: expected above 0, found {list(self.log_uniform)}")
        if self.choice == []:
            raise ValueError("choice: expected one value or more")

    @property
    def values(self) -> list[Any] | None:
        """All values, None where there is no end of them."""
        if self.choice is not None:
            return list(self.choice)
        if self.range is None:
            return None
        first, last, step = self.range
        count = math.floor((last - first) / step + 1e-9) + 1
        found = [round(first + i * step, 12) for i in range(count)]
        whole = all(float(x).is_integer() for x in self.range)
        return [int(x) for x in found] if whole else found

    def sample(self, rng: np.random.Generator) -> Any:
        """Return one value at random."""
        if self.uniform is not None:
            return float(rng.uniform(*self.uniform))
        if self.log_uniform is not None:
            low, high = (math.log(x) for x in self.log_uniform)
            return float(min(max(math.exp(rng.uniform(low, high)), self.log_uniform[0]),
                             self.log_uniform[1]))  # fmt: skip
        if self.int_uniform is not None:
            return int(rng.integers(self.int_uniform[0], self.int_uniform[1] + 1))
        values = self.values or []
        return values[int(rng.integers(len(values)))]


type Axis = list[Any] | Draw


def values_of(axis: Axis) -> list[Any] | None:
    """Return all values of an axis, None where there is no end of them."""
    return list(axis) if isinstance(axis, list) else axis.values


def sample(axes: Mapping[str, Axis], rng: np.random.Generator) -> Point:
    """Return a point at random, the axes in order."""
    return {
        key: axis[int(rng.integers(len(axis)))] if isinstance(axis, list) else axis.sample(rng)
        for key, axis in axes.items()
    }


def product(axes: Mapping[str, Axis]) -> Iterator[Point]:
    """Yield every point, the last axis running fastest.

    Raises:
        ConfigError: an axis has no end of values.
    """
    listed = {key: values_of(axis) for key, axis in axes.items()}
    for key, values in listed.items():
        if values is None:
            raise ConfigError(
                f"key axes.{key}: expected a list, range or choice for search grid, "
                "found a distribution, which search random, bayes and pbt draw from"
            )
    lists = [values or [] for values in listed.values()]
    for point in itertools.product(*lists):
        yield dict(zip(listed, point, strict=True))


def lay(tree: Mapping[str, Any], point: Point) -> dict[str, Any]:
    """Return a copy of a tree with a point's values at their key paths, short paths first.

    Raises:
        ConfigError: a path leads through a value.
    """
    result = deepcopy(dict(tree))
    for path, value in sorted(point.items(), key=lambda item: item[0].count(".")):
        *sections, key = path.split(".")
        at: Any = result
        for section in sections:
            at = at.setdefault(section, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ConfigError(f"key axes.{path}: {'.'.join(sections)} is a value, not a section")
        at[key] = deepcopy(value)
    return result


def matches(tree: Mapping[str, Any], partial: Point) -> bool:
    """Say whether a tree has all values of `partial`, key path -> value."""
    return all(_at(tree, path) == value for path, value in partial.items())


def flatten(tree: Mapping[str, Any], at: str = "") -> Point:
    """Return key path -> value; a table of an axis' kinds is a value."""
    flat: Point = {}
    for key, value in tree.items():
        path = f"{at}.{key}" if at else key
        if isinstance(value, dict) and value and not set(value) & set(KINDS):
            flat |= flatten(value, path)
        else:
            flat[path] = value
    return flat


def _at(tree: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(tree, dict) or step not in tree:
            return None
        tree = tree[step]
    return tree
