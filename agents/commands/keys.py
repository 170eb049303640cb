"""Commands on keys: who may come to a grid, and what for."""

from typing import Final

from agents.commands.line import command
from grid.cli import Args, Option, number, option
from grid.grants import ROLES

_NAME: Final = option("name", "of the key")
_PUBLIC: Final = option("--public", "public key of a pair made elsewhere (default: one made here)")


def _many(name: str, what: str) -> Option:
    return option(name, what, action="append", default=[], metavar=name[2:].upper())


@command(
    "keys new",
    "make a key and say what it may do",
    "beta --role agent --strategy eurusd",
    _NAME,
    option("--role", "what it may do", choices=tuple(ROLES), required=True),
    _many("--strategy", "that it acts for, answers for or controls; again for another"),
    _many("--agent", "id of an agent that it may be (default: the key's name)"),
    _many("--publish", "topic in place of the role's, as in sys.beta or md.*"),
    _many("--subscribe", "topic in place of the role's"),
    _PUBLIC,
)
def _new(args: Args) -> None:
    from msgspec.structs import replace

    from grid import grants, registrar

    grant = grants.of_role(args.role, args.name, tuple(args.strategy), tuple(args.agent))
    topics = {"publish": tuple(args.publish), "subscribe": tuple(args.subscribe)}
    grant = replace(grant, **{field: given for field, given in topics.items() if given})
    registrar.enroll(args.home.keys, args.name, grant, role=args.role, public=args.public)
    print(registrar.describe(args.home.keys, args.name))


@command("keys list", "the keys there are", "")
def _list(args: Args) -> None:
    from grid import registrar

    print(registrar.table(args.home.keys))


@command("keys show", "a key: its public half, its rights", "grid", _NAME)
def _show(args: Args) -> None:
    from grid import registrar

    print(registrar.describe(args.home.keys, args.name))


@command(
    "keys rotate",
    "give a holder a new key; the old one stays good for a while",
    "beta --grace 60",
    _NAME,
    option("--grace", "seconds for which the old key stays good", type=number, default=3600),
    _PUBLIC,
)
def _rotate(args: Args) -> None:
    from grid import registrar

    registrar.rotate(args.home.keys, args.name, grace_s=args.grace, public=args.public)
    print(registrar.describe(args.home.keys, args.name))


@command("keys revoke", "take all rights from a holder, at once", "beta", _NAME)
def _revoke(args: Args) -> None:
    from grid import registrar

    registrar.revoke(args.home.keys, args.name)
    print(registrar.describe(args.home.keys, args.name))
