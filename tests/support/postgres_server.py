"""A real PostgreSQL server for tests, of this machine's binaries, in a folder of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as driver
import pytest

from tests.support.procs import until

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
needs_postgres = pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server is installed")


class PostgresServer:
    """One server on a Unix socket, that can be killed and started again.

    It refuses to run as root, and is then run as `nobody`.
    """

    def __init__(self, folder: Path) -> None:
        assert BINARIES is not None
        self.uri = f"postgresql://argonaut@/postgres?host={folder}"
        self._data = folder / "data"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        options = ("--no-sync", "--no-instructions", "-A", "trust", "-U", "argonaut")
        argv = self._as_user(BINARIES / "initdb", "-D", self._data, *options)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert BINARIES is not None
        options = ("-k", str(self._folder), "-c", "listen_addresses=")
        argv = self._as_user(BINARIES / "postgres", "-D", self._data, *options)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stderr=log, stdout=log, cwd=self._folder)

        until(lambda: self.has("select 1"), "PostgreSQL")

    def ask(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        with (
            driver.connect(self.uri, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return list(cursor.fetchall())

    def has(self, query: str) -> bool:
        """Whether it answers a query, with rows."""
        with contextlib.suppress(driver.Error):
            return bool(self.ask(query))
        return False

    def kill(self) -> None:
        """Kill it with -9, its children too, as a power cut would."""
        if self._process is None:
            return
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [int(pid) for pid in children.read_text().split()]
        self._process.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its children's end")
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it."""
        self.kill()

    def _as_user(self, *argv: object) -> list[str]:
        user = ("setpriv", "--reuid", "nobody", "--clear-groups") if os.geteuid() == 0 else ()
        return [*user, *(str(arg) for arg in argv)]
