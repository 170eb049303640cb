"""Where the datasets lie that a checkpoint was trained on."""

from pathlib import Path

import msgspec

from agents.trials.data import home_of, seal
from grid.dataset import Dataset, to_iso
from grid.home import Home
from tests.support import runs


def test_home_of_what_a_grid_with_a_holdout_trained_is_the_grids_own(tmp_path: Path) -> None:
    home = runs.home_with_data(tmp_path)
    whole = Dataset.find(home.datasets, runs.NAME)
    holdout = (to_iso(int(whole.columns["ts_event"][600])), "2020-01-02 00:00:00")
    own = Home(home.root / "grids" / "held")
    cut = seal(whole, own, holdout)
    seen = msgspec.structs.replace(runs.manifest().data, fingerprint=whole.manifest.fingerprint)
    assert home_of(seen, home).root == home.root
    assert home_of(msgspec.structs.replace(seen, fingerprint=cut), home).root == own.root
    other = msgspec.structs.replace(seen, fingerprint=cut, others={"elsewhere": cut})
    assert home_of(other, home).root == home.root, "half of a market is not it"
