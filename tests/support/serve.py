"""A broker or a recorder for tests: `serve.py broker|record ADDRESSES [FOLDER] [--cut-off-s S]`."""

import argparse
import sys
from functools import partial
from pathlib import Path

import msgspec

from grid import broker, identity, process, recorder
from grid.bus import Addresses
from grid.epoch import next_epoch
from grid.errors import ArgonautError
from grid.laggards import CUT_OFF_S
from tests.support.witness import Witness


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("broker", "record"))
    parser.add_argument("addresses")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cut-off-s", type=float, default=CUT_OFF_S)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--witness", type=Path)
    parser.add_argument("--name", default="recorder")
    parser.add_argument("--lifeline", type=int)
    args = parser.parse_args()
    addresses = msgspec.json.decode(args.addresses, type=Addresses)
    life = process.start(args.what, args.lifeline)
    if args.keys is not None:
        identity.enter(identity.Security(mode="on"), addresses, args.keys)
    epoch = next_epoch(args.folder / "epochs", args.what)
    try:
        if args.what == "broker":
            broker.run(addresses, life, epoch=epoch, cut_off_s=args.cut_off_s)
        else:
            if args.witness is not None:
                recorder.Queue = partial(Witness, args.witness)  # type: ignore[misc, assignment]
            sessions = args.folder / "sessions"
            recorder.run(addresses, life, sessions, label="test", epoch=epoch, name=args.name)
    except ArgonautError as e:
        sys.stderr.write(f"{e}\n")
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
