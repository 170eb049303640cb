"""Commands of the gateway: the process, and the API keys of those who use it."""

from pathlib import Path
from typing import Any, Final

from agents.commands.line import CHILD, child, command
from grid.cli import Args, option
from grid.errors import ConfigError

_WORDS: Final = option(
    "words",
    "nothing to serve; or `keys new NAME`, `keys list`, `keys revoke NAME`",
    nargs="*",
    metavar="keys VERB NAME",
)


@command(
    "gateway",
    "one process of a grid: REST, WebSocket, metrics; and the API keys for it",
    "--config configs/grid.toml",
    _WORDS,
    option("--config", "TOML file of the grid, to serve", type=Path),
    *CHILD[1:],
    option(
        "--scope",
        "of a new key: read, paper or live; again for another (default: read)",
        action="append",
        default=[],
        choices=("read", "paper", "live"),
    ),
)
def _gateway(args: Args) -> None:
    match args.words:
        case []:
            _serve(args)
        case ["keys", "new", name]:
            from grid.gateway import keys

            print(keys.make(args.home.keys, name, tuple(args.scope)))
        case ["keys", "list"]:
            _list(args)
        case ["keys", "revoke", name]:
            from grid.gateway import keys

            keys.revoke(args.home.keys, name)
            print(f"{name}: revoked")
        case words:
            raise ConfigError(
                "gateway: expected `keys new NAME`, `keys list`, `keys revoke NAME` or nothing,"
                f" found {' '.join(words)!r}"
            )


def _serve(args: Args) -> None:
    if args.config is None:
        raise ConfigError("gateway: expected --config with the TOML file of a grid, found none")
    try:
        from grid.gateway import serve
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"gateway: {e.name} is not installed: pip install 'argonaut-nt[gateway]'"
        ) from e
    from agents.trials.onlooker import Onlooker
    from grid.epoch import next_epoch

    config, name, life = child(args, "gateway")
    epoch = next_epoch(args.home.epochs, name)
    models, training = (lambda: _models(args.home.models)), Onlooker(args.home)
    serve.run(config, args.home, life, models, training, epoch=epoch, name=name)


def _models(folder: Path) -> list[Any]:
    from agents.registry import history
    from grid.gateway.disk import Model

    known = history.names(history.read(folder / "history.jsonl"))
    return [Model(n, c.digest, c.at, c.by, c.why) for n, c in sorted(known.items())]


def _list(args: Args) -> None:
    from grid.dataset import to_iso
    from grid.gateway import keys

    known = keys.load(args.home.keys)
    print(f"{'name':<40} {'scopes':<16} {'made':<20} state")
    for name, key in sorted(known.items()):
        state = f"revoked {to_iso(key.revoked_ns)}" if key.revoked_ns else "good"
        print(f"{name:<40} {','.join(key.scopes):<16} {to_iso(key.made_ns):<20} {state}")
