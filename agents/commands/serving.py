"""The model server as a command."""

from pathlib import Path
from typing import Any

from agents.commands.line import CHILD, command
from grid.cli import Args, option
from grid.errors import ConfigError


@command(
    "serve",
    "a model server: batches over ZeroMQ, TorchServe's API, the Open Inference Protocol",
    "model:eurusd/champion --config configs/serving.toml",
    option(
        "models",
        "[NAME=]CHECKPOINT, a run, model:STRATEGY/ROLE, which is followed, or model:DIGEST",
        nargs="*",
        metavar="MODEL",
    ),
    option("--config", "TOML file of the server, or of a grid with [serving]", type=Path),
    *CHILD[1:],
)
def _serve(args: Args) -> None:
    from agents.serving import process
    from grid import process as processes

    config = _config(args)
    if not config.models:
        raise ConfigError(
            "serve: expected a checkpoint or model:NAME to serve, or [[models]] in the config, "
            "found none"
        )
    life = processes.start(args.name or "serving", args.lifeline)
    process.run(config, args.home.models, life)


def _config(args: Args) -> Any:
    from grid.config import convert, lay, read
    from grid.serving.config import ServingConfig

    tree: dict[str, Any] = {"http": {}}  # of a server that nobody has configured
    if args.config is not None:
        tree = read(args.config, args.set)
        if "node" in tree:  # a grid's
            tree = tree.get("serving", {})
    else:
        for override in args.set:
            lay(tree, override)
    for text in args.models:
        name, sign, checkpoint = text.partition("=")
        named = {"name": name, "checkpoint": checkpoint} if sign else {"checkpoint": text}
        tree["models"] = [*tree.get("models", []), named]
    return convert(tree, ServingConfig, str(args.config or "serve"))
