"""A home folder with the session and checkpoints of a packed scenario, to work on."""

from pathlib import Path

from agents import bundle
from grid.home import Home
from tests.bundles import make

FOLDER = Path(make.__file__).parent


def home_with(name: str, root: Path) -> tuple[Home, Path]:
    """Unpack a bundle; return the home and the folder of its session."""
    manifest = bundle.unpack(FOLDER / f"{name}.argonaut", root / "unpacked")
    home = Home(root / "home")
    for folder in (home.sessions, home.runs / "packed"):
        folder.mkdir(parents=True)
    path = home.sessions / manifest.session
    (root / "unpacked" / "session").rename(path)
    checkpoints = root / "unpacked" / "checkpoints"
    if checkpoints.is_dir():
        checkpoints.rename(home.runs / "packed" / "checkpoints")
    return home, path
