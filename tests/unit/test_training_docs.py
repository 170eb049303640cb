"""Every key of a training run stands in its page, with its default."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents import config, hyperparameters

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text()
ROWS = {
    row[0].strip("` "): [cell.strip() for cell in row]
    for row in (line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `"))
}
KINDS: list[tuple[str, type[msgspec.Struct]]] = [
    ("", config.RunConfig), ("data.", config.DataConfig), ("env.", config.EnvConfig),
    ("market.", config.MarketConfig), ("market.views.", config.ViewConfig),
    ("run.", config.RunSection), ("algo.", hyperparameters.PPO),
    ("algo.", hyperparameters.RecurrentPPO), ("algo.", hyperparameters.DQN),
]  # fmt: skip
SECTIONS = {"data", "env", "run", "algo"}  # tables, whose keys have rows of their own


@pytest.mark.parametrize(("prefix", "kind"), KINDS)
def test_every_key_of_a_run_is_in_the_page_with_its_default(
    prefix: str, kind: type[msgspec.Struct]
) -> None:
    for field in msgspec.structs.fields(kind):
        if field.name in SECTIONS and not prefix:
            continue
        row = ROWS[prefix + field.name]
        assert says(row[2], field.default), (row, field.default)


def says(cell: str, default: Any) -> bool:
    if default is msgspec.NODEFAULT:
        return cell == ""
    if default is None:
        return cell != ""
    if isinstance(default, bool):
        return cell == str(default).lower()
    if isinstance(default, int | float):
        return float(re.sub("[,`]", "", cell.split()[0])) == default
    if isinstance(default, tuple):
        return cell == (", ".join(map(str, default)) or "none")
    if isinstance(default, msgspec.Struct):
        return cell == ""
    return cell.strip("`") == default or (default == "" and cell == "none")


def test_every_example_and_algorithm_is_in_the_page() -> None:
    for file in (ROOT / "configs" / "train").glob("*.toml"):
        assert f"`{file.name}`" in PAGE
    for algo in ("ppo", "dqn", "sac", "MaskablePPO", "RecurrentPPO"):
        assert f"| `{algo}` |" in PAGE
