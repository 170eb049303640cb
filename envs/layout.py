"""Spaces as plain data, and as arrays over a piece of memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from grid.errors import ConfigError

type Tree = NDArray[Any] | dict[str, Tree] | tuple[Tree, ...]
type Take = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


def describe(space: Space[Any]) -> list[Any]:
    """Return a space as plain data and arrays.

    Raises:
        ConfigError: a value of it has no fixed size.
    """
    match space:
        case spaces.Box():
            return ["box", space.low, space.high]
        case spaces.Discrete():
            return ["discrete", int(space.n), int(space.start), space.dtype.str]
        case spaces.MultiDiscrete():
            return ["multi_discrete", space.nvec, space.start]
        case spaces.MultiBinary():
            return ["multi_binary", list(space.shape)]
        case spaces.Dict():
            return ["dict", {key: describe(part) for key, part in space.spaces.items()}]
        case spaces.Tuple():
            return ["tuple", [describe(part) for part in space.spaces]]
        case _:
            raise ConfigError(
                "vector env: expected spaces of Box, Discrete, MultiDiscrete, MultiBinary, Dict "
                f"and Tuple, found {space}"
            )


def restore(plain: list[Any]) -> Space[Any]:
    """Return the space that `describe` was given."""
    match plain:
        case ["box", low, high]:
            return spaces.Box(low, high, low.shape, low.dtype)
        case ["discrete", n, start, dtype]:
            return spaces.Discrete(n, start=start, dtype=np.dtype(dtype).type)
        case ["multi_discrete", nvec, start]:
            return spaces.MultiDiscrete(nvec, dtype=nvec.dtype.type, start=start)
        case ["multi_binary", shape]:
            return spaces.MultiBinary(shape)
        case ["dict", parts]:
            return spaces.Dict([(key, restore(part)) for key, part in parts.items()])
        case ["tuple", parts]:
            return spaces.Tuple([restore(part) for part in parts])
        case _:
            raise ValueError(f"expected the description of a space, found {plain!r}")


def arrays(space: Space[Any], n: int, take: Take) -> Tree:
    """Return room for `n` values of a space, a row each, in the space's own structure.

    Args:
        space: of one value.
        n: values.
        take: gives an array of a shape and dtype.
    """
    if isinstance(space, spaces.Dict):
        return {key: arrays(part, n, take) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(arrays(part, n, take) for part in space.spaces)
    assert space.shape is not None and space.dtype is not None  # noqa: PT018
    return take((n, *space.shape), space.dtype)


def put(tree: Tree, row: int, value: Any) -> None:
    """Write one value into its row."""
    if isinstance(tree, np.ndarray):
        tree[row] = value
    elif isinstance(tree, dict):
        for key, part in tree.items():
            put(part, row, value[key])
    else:
        for part, item in zip(tree, value, strict=True):
            put(part, row, item)


def get(tree: Tree, row: int) -> Any:
    """Return a copy of the value in a row."""
    if isinstance(tree, np.ndarray):
        return tree[row].copy()
    if isinstance(tree, dict):
        return {key: get(part, row) for key, part in tree.items()}
    return tuple(get(part, row) for part in tree)


def put_all(tree: Tree, values: Any) -> None:
    """Write a value into each row.

    Raises:
        ConfigError: there are not as many, or they are of another kind.
    """
    if isinstance(tree, np.ndarray):
        found = np.asarray(values)
        if found.shape != tree.shape or not np.can_cast(found.dtype, tree.dtype, "same_kind"):
            raise ConfigError(
                f"actions: expected shape {tree.shape} of {tree.dtype}, "
                f"found {found.shape} of {found.dtype}"
            )
        tree[...] = found
    elif isinstance(tree, dict):
        for key, part in tree.items():
            put_all(part, values[key])
    else:
        for part, items in zip(tree, values, strict=True):
            put_all(part, items)


def get_all(tree: Tree) -> Any:
    """Return a copy of all rows."""
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, dict):
        return {key: get_all(part) for key, part in tree.items()}
    return tuple(get_all(part) for part in tree)
