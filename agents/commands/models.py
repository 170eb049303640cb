"""Commands on the registry of checkpoints."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agents.commands.line import COMMAND, command
from grid.cli import Args, flag, option

_MODEL: Final = option(
    "model", "a checkpoint, a run, model:NAME as in model:eurusd/champion, or grid:NAME, its chosen"
)
_GRID: Final = "grid:"
_FORMATS: Final = ("onnx", "torchscript", "mar")
_NAME: Final = option("name", "STRATEGY/ROLE, as in eurusd/champion")
_BY: Final = option("--by", "who asks (default: USER@HOST)", default="")
_WHY: Final = option("--why", "the reason, for the history", default="")


@command("models list", "the names, and the checkpoints that they point at", "")
def _models_list(args: Args) -> None:
    from agents.registry.show import table

    print(table(_registry(args)))


@command(
    "models show", "what is known of a checkpoint, and its history", "model:eurusd/champion", _MODEL
)
def _models_show(args: Args) -> None:
    from agents.registry.show import describe

    print(describe(_registry(args), _checkpoint(args.model, args)))


@command(
    "models check",
    "find out what a promotion demands: evaluation, look-ahead, parity on a grid",
    ".argonaut/runs/eurusd-ppo",
    _MODEL,
)
def _models_check(args: Args) -> int:
    from agents.registry.proving import prove

    registry = _registry(args)
    kept = registry.add(_checkpoint(args.model, args))
    home = _home(kept, args)

    def tell(found: Any) -> None:
        registry.learn(kept.digest, found)
        print(
            f"{'passed' if found.passed else 'FAILED'}  {found.what:<10}  {found.said}", flush=True
        )

    return 0 if all(found.passed for found in prove(kept, home, COMMAND, tell)) else 1


@command(
    "models promote",
    "let a name point at a checkpoint; agents that follow the name change over",
    '.argonaut/runs/eurusd-ppo eurusd/champion --why "half the turnover"',
    _MODEL,
    _NAME,
    _WHY,
    _BY,
    flag("--force", "though something has not passed; demands --why and is recorded"),
)
def _models_promote(args: Args) -> None:
    from agents.registry.show import told

    checkpoint, registry = _checkpoint(args.model, args), _registry(args)
    if _grid(args.model):
        from agents.gridreport.promoting import evidence

        at = datetime.now(UTC).isoformat(timespec="seconds")
        registry.learn(checkpoint.digest, evidence(args.home, _grid(args.model), at))
    change = registry.promote(checkpoint, args.name, force=args.force, **_said(args))
    print(told(change))


@command(
    "models rollback",
    "let a name point at what it pointed at before",
    'eurusd/champion --why "odd fills"',
    _NAME,
    _WHY,
    _BY,
)
def _models_rollback(args: Args) -> None:
    from agents.registry.show import told

    print(told(_registry(args).rollback(args.name, **_said(args))))


@command(
    "models diff",
    "what differs between two checkpoints",
    "model:eurusd/champion model:eurusd/shadow",
    _MODEL,
    option("other", "likewise"),
)
def _models_diff(args: Args) -> None:
    from agents.registry.show import diff

    print(diff(_checkpoint(args.model, args), _checkpoint(args.other, args)))


@command(
    "models export",
    "the network for other programs, compared with torch before",
    "model:eurusd/champion --out exported",
    _MODEL,
    option("--out", "folder", type=Path, required=True),
    option("--format", "a .mar is for TorchServe", choices=_FORMATS, default="onnx"),
    option("--name", "of the model in a .mar (default: policy)"),
)
def _models_export(args: Args) -> None:
    from agents.registry.export import export
    from grid.config import convert
    from grid.serving.config import ModelName

    name = convert(args.name or "policy", ModelName, "--name")
    file, described = export(_checkpoint(args.model, args), args.out, args.format, name)
    print(f"{file}\n{described.input} -> {described.output}")
    print(f"torch and ONNX differ by at most {described.worst:.1e} on the golden rows")


def _registry(args: Args) -> Any:
    from agents.registry.registry import Registry

    return Registry(args.home.models)


def _checkpoint(name: str, args: Args) -> Any:
    from agents.checkpoint import Checkpoint
    from agents.registry.registry import resolve

    if _grid(name):
        from agents.gridreport.promoting import chosen

        return chosen(args.home, _grid(name))
    return Checkpoint.open(resolve(name, args.home.models))


def _grid(name: str) -> str:
    """Return the name of the grid that is meant, or an empty string."""
    return name.removeprefix(_GRID) if name.startswith(_GRID) else ""


def _home(checkpoint: Any, args: Args) -> Any:
    """Return where the data of a checkpoint are: a grid's trials have read datasets of its own."""
    from agents.trials.data import home_of
    from agents.trials.folder import Folder

    if _grid(args.model):
        return Folder(args.home, _grid(args.model)).home
    return home_of(checkpoint.manifest.data, args.home)


def _said(args: Args) -> dict[str, str]:
    from grid.control import person

    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"by": args.by or person(), "why": args.why, "at": at}
