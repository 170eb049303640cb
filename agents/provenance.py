"""Where a result comes from: package versions, commit, platform."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "argonaut-nt",
    "nautilus_trader",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "gymnasium",
    "onnxruntime",
    "numpy",
    "msgspec",
)
_TREE: Final = Path(__file__).resolve().parent.parent


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on; those not installed lack."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of the source tree, `+dirty` where it was changed, or an empty string."""
    if not (_TREE / ".git").exists():
        return ""
    head = _git("rev-parse", "HEAD")
    return head + ("+dirty" if head and _git("status", "--porcelain") else "")


def system() -> str:
    """Return operating system, machine and Python, as in `Linux-x86_64 CPython-3.12.1`."""
    return (
        f"{platform.system()}-{platform.machine()} "
        f"{platform.python_implementation()}-{platform.python_version()}"
    )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(_TREE), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
