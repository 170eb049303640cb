"""What goes through the shared memory of a vector env comes out as it was."""

import os

import numpy as np
import pytest
from gymnasium import spaces

from envs import layout, mail
from envs.block import Arrays, Head
from envs.recipe import made_of, plain
from grid.errors import ConfigError
from tests.support.contract import bits
from tests.support.envs import SPACES, Counting

N = 3


@pytest.fixture
def memory():
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


@pytest.mark.parametrize("value", [
    None, True, 1, -(2**63), 1.5, float("inf"), "text", [1, [2.0]], {"a": {"b": []}},
])  # fmt: skip
def test_plain_data_keeps_its_value_and_kind(value):
    found = mail.decode(mail.encode(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "f8", "?", "<U3", "datetime64[ns]"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_array_keeps_its_bits(dtype, shape):
    value = np.ones(shape, dtype=dtype)
    found = mail.decode(mail.encode({"x": value}))["x"]
    assert bits(found) == bits(value)
    assert found.flags.writeable


def test_what_is_not_plain_data_is_refused_by_its_type():
    with pytest.raises(TypeError, match="plain data and arrays, found object"):
        mail.encode({"x": object()})
    with pytest.raises(TypeError, match="found ndarray"):
        mail.encode(np.array([object()]))


@pytest.mark.parametrize("name", SPACES)
def test_space_is_restored_from_its_description(name):
    assert layout.restore(mail.decode(mail.encode(layout.describe(SPACES[name])))) == SPACES[name]


def test_space_without_a_fixed_size_is_refused():
    with pytest.raises(ConfigError, match=r"found Text"):
        layout.describe(spaces.Text(5))


@pytest.mark.parametrize("name", SPACES)
def test_value_written_in_a_row_is_read_by_another_process(memory, name):
    space = SPACES[name]
    space.seed(0)
    values = [space.sample() for _ in range(N)]
    ours, theirs = (Arrays(memory, Head(memory, N), space, space) for _ in range(2))
    for i, value in enumerate(values):
        layout.put(ours.obs, i, value)
    assert [bits(layout.get(theirs.obs, i)) for i in range(N)] == [bits(v) for v in values]
    layout.put_all(ours.actions, layout.get_all(theirs.obs))
    assert bits(layout.get_all(theirs.actions)) == bits(layout.get_all(ours.obs))


def test_arrays_and_letters_do_not_overlap(memory):
    head = Head(memory, N)
    arrays = Arrays(memory, head, SPACES["box"], SPACES["multi_discrete"])
    trees = [arrays.actions, arrays.obs, arrays.last_obs, arrays.rewards, arrays.ends]
    for k, tree in enumerate(trees, 1):
        tree[...] = k
    for i in range(N):
        head.memory[head.order + i] = 100 + i
        head.pids[i] = i
        head.exits[i] = 2 * i
        head.write(i, "x" * (i + 1))
    assert [(tree == k).all() for k, tree in enumerate(trees, 1)] == [True] * 5
    assert [head.read(i) for i in range(N)] == ["x", "xx", "xxx"]
    assert list(head.pids) == [0, 1, 2]
    assert list(head.exits) == [0, 2, 4]


def test_letter_too_long_is_refused(memory):
    with pytest.raises(ConfigError, match=r"env 1: expected at most \d+ bytes"):
        Head(memory, N).write(1, b"x" * (9 << 20))


def test_recipe_travels_as_plain_data():
    recipe = Counting(obs="dict", steps=9)
    assert made_of(*mail.decode(mail.encode(plain(recipe)))) == recipe
