"""A feature of one's own from a file, and the page that says how."""

import sys
from pathlib import Path

import numpy as np
import pytest

from envs.features.kernel import REGISTRY
from envs.features.listing import markdown, render, rows_needed, table
from envs.features.registry import parse, shipped
from envs.pipeline import Pipeline, fit
from grid.errors import ConfigError
from grid.spec import TargetRule
from tests.support.markets import bar_columns, dataset
from tests.unit.test_features import as_bar, assert_stream_is_batch

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
TARGET = TargetRule(max_qty=1.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to import from; what is imported from it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules, names = set(sys.modules), set(REGISTRY)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    for name in set(REGISTRY) - names:
        del REGISTRY[name]


def example():
    """The module on the page."""
    return PAGE.partition("```python\n")[2].partition("```")[0]


def test_page_holds_the_table_of_all_features():
    assert markdown() in PAGE


def test_table_has_a_row_for_every_feature_and_all_cells_filled():
    assert len(table()) == len(shipped())
    assert all(cell and "|" not in cell for row in table() for cell in row)
    assert "macd:fast:slow" in render()
    assert "4 slow + 4 signal - 1" in render()


@pytest.mark.parametrize("declared", shipped(), ids=lambda d: d.name)
def test_rows_in_the_table_are_the_lookback(declared):
    values = dict(zip(declared.params, (3, 11, 5), strict=False))
    text = rows_needed(declared)
    for name, value in values.items():
        text = text.replace(f"4 {name}", str(4 * value)).replace(name, str(value))
    parts = text.replace("- ", "+ -").split(" + ")
    assert sum(int(p) for p in parts) == declared.lookback(*values.values())


def test_example_of_the_page_is_ten_lines_and_works_on_both_paths(folder):
    (folder / "my_features.py").write_text(example())
    kernel = example().strip().splitlines()
    assert len(kernel) == 10
    data = dataset(bar_columns(120))
    features = ("my_features:body_balance:10", "log_return:1")
    spec = fit(data, (0, 60), features=features, window=3, target=TARGET)
    assert_stream_is_batch(spec, data.columns, as_bar)
    body = (data.columns["close"] - data.columns["open"])[:10]
    want = body.sum() / np.abs(body).sum()
    assert Pipeline(spec).raw(data.columns)[0, 0] == pytest.approx(want)


def test_feature_in_a_package_and_under_a_shipped_name_takes_nothing_over(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text("")
    (folder / "mine" / "one.py").write_text(example().replace("body_balance", "rsi"))
    shipped_one = parse("rsi:14").declared
    own = parse("mine.one:rsi:10")
    assert own.declared.name == "mine.one:rsi"
    assert own.declared is not shipped_one
    assert parse("rsi:14").declared is shipped_one
    assert own.declared not in shipped()


def test_own_module_that_fails_is_refused_in_a_sentence(folder):
    (folder / "broken.py").write_text("1 / 0\n")
    with pytest.raises(
        ConfigError, match="module broken cannot be imported: ZeroDivisionError: division by zero"
    ):
        parse("broken:kernel:3")
    (folder / "empty.py").write_text("")
    with pytest.raises(ConfigError, match="module empty declares no such kernel"):
        parse("empty:kernel:3")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return rows['close'][:1]", "ValueError: expected 100 values, found 1"),
        ("return rows['close']", "ValueError: expected 100 values, found 101"),
        ("return rows['volume']", "KeyError: 'volume'"),
        ("return None", "TypeError: object of type 'NoneType'"),
    ],
)
def test_own_kernel_that_fails_is_refused_by_name(folder, body, said):
    (folder / "wrong.py").write_text(
        "from envs.features.kernel import feature\n"
        f"@feature('none', ('close',), lambda: 2)\ndef kernel(rows):\n    {body}\n"
    )
    with pytest.raises(ConfigError, match=f"feature 'wrong:kernel' failed: {said}"):
        fit(
            dataset(bar_columns(101)),
            (0, 101),
            features=("log_return:1", "wrong:kernel"),
            window=3,
            target=TARGET,
        )
