"""A child of a grid for tests of the supervisor: `child.py MODE FOLDER [options of a child]`."""

import argparse
import os
import select
import signal
import sys
import time
from pathlib import Path

from grid import process


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="child")
    parser.add_argument("--lifeline", type=int)
    args = parser.parse_args()
    lives = args.folder / f"{args.name}.lives"
    with lives.open("a") as out:
        out.write(f"{os.getpid()}\n")
    life_number = len(lives.read_text().splitlines())
    mode = args.mode

    if mode == "input":
        sys.stderr.write("config.toml: unknown key feed.sped\n")
        return 2
    if mode == "crash" or (mode == "crash-once" and life_number == 1):
        sys.stderr.write(f"something broke in life {life_number}\n")
        return 3

    life = process.start(args.name, args.lifeline)
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "parent" and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(100)  # a grandchild that nobody waits for
    if mode != "never":
        life.ready()
    while not select.select([life.wake_fd], [], [], 0.02)[0] or mode == "deaf":
        if mode == "finish" and (args.folder / "finish").exists():
            return 0
        if mode == "hang-once" and life_number == 1:
            continue
        life.beat()
    with (args.folder / "stops").open("a") as out:
        out.write(f"{args.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
