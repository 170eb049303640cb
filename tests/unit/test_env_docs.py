"""Every public parameter of the envs stands in their page, with its unit and default."""

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envs.market import MarketEnv
from envs.parallel import ParallelMarketEnv, Role
from envs.schemes import Orders, Weights
from envs.trading import TradingEnv
from envs.vector import SharedVectorEnv
from envs.views import Rows, Timer, View
from grid.spec import Spec, TargetRule
from grid.venue import Venue

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "env.md").read_text()
REALISM = (DOCS / "realism.md").read_text()

KINDS = (
    TradingEnv, MarketEnv, ParallelMarketEnv, Role, View, Rows, Timer, Weights, Orders, Venue, Spec,
    TargetRule, SharedVectorEnv,
)  # fmt: skip
# what has a table of its own: section, the table's first head, what stands before the names
TABLES: dict[type, tuple[str, str, str]] = {
    TradingEnv: ("TradingEnv", "parameter", ""),
    Spec: ("TradingEnv", "parameter of a spec", ""),
    TargetRule: ("TradingEnv", "parameter of a spec", "target."),
    Venue: ("TradingEnv", "parameter of a venue", ""),
    MarketEnv: ("MarketEnv", "parameter", ""),
    View: ("MarketEnv", "view parameter", ""),
    SharedVectorEnv: ("Many envs", "parameter", ""),
}


def table(section: str, head: str) -> dict[str, tuple[str, str]]:
    """Unit and default of each parameter."""
    text = next(part for part in PAGE.split("\n## ") if part.startswith(f"{section}\n"))
    start = text.index(f"| {head} | unit | default | meaning |")
    rows = text[start:].split("\n\n")[0].splitlines()[2:]
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        names, unit, default, meaning = (cell.strip() for cell in row.strip("|").split("|", 3))
        assert meaning, row
        for name in re.findall(r"`([^`]+)`", names):
            found[name] = (unit, default)
    return found


def says(cell: str, default: Any) -> bool:
    """Whether the page's text is that of a parameter's default."""
    if default is inspect.Parameter.empty:
        return cell == ""
    if default is None:
        return cell != ""
    if default in ("", ()):
        return cell == "none"
    if isinstance(default, bool):
        return cell == str(default).lower()
    if isinstance(default, int | float):
        return float(cell.split()[0].replace(",", "")) == default
    if isinstance(default, tuple):
        return cell == ", ".join(f"{x:g}" for x in default)
    if isinstance(default, msgspec.Struct):
        return cell.strip("`") == repr(default)
    return cell.strip("`") == default


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_in_the_page(kind: type) -> None:
    for name in inspect.signature(kind).parameters:
        assert f"`{name}`" in PAGE or f".{name}`" in PAGE or f"{name}=" in PAGE, name


@pytest.mark.parametrize("kind", TABLES)
def test_every_parameter_has_its_default_in_the_table(kind: type) -> None:
    section, head, prefix = TABLES[kind]
    rows = table(section, head)
    shared = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.+`, `.+?) \|", PAGE, re.M))))
    for name, parameter in inspect.signature(kind).parameters.items():
        assert prefix + name in rows, name
        if name in shared and kind in (MarketEnv, View):
            continue  # as in a table above
        assert says(rows[prefix + name][1], parameter.default), (name, rows[prefix + name])
    ours = {prefix + name for name in inspect.signature(kind).parameters}
    assert {name for name in rows if not prefix or name.startswith(prefix)} - ours <= {
        f"target.{name}" for name in inspect.signature(TargetRule).parameters
    }


@pytest.mark.parametrize("name", inspect.signature(Venue).parameters)
def test_unit_that_a_name_ends_with_is_the_one_in_the_table(name: str) -> None:
    unit, _ = table("TradingEnv", "parameter of a venue")[name]
    for ending, said in (("_ms", "ms"), ("_bps", "bps"), ("_h", "hours"), ("_qty", "units")):
        if name.endswith(ending):
            assert unit.startswith(said), name


@pytest.mark.parametrize("name", inspect.signature(Venue).parameters)
def test_every_key_of_realism_is_on_the_page_of_realism(name: str) -> None:
    assert f"`{name}`" in REALISM
