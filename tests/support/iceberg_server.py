"""A real REST catalog of Iceberg for tests: lakana-server, which does not live beside our pins.

    uv tool install lakana-server==0.20.0

puts it on the PATH; its tables lie under namespaces that begin with bronze, silver or gold.
"""

import contextlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.gateways import free_port
from tests.support.procs import until

BINARY: Final = shutil.which("lakana-server")
needs_rest_catalog = pytest.mark.skipif(BINARY is None, reason="no lakana-server is installed")
_KEY: Final = ("key0123456789abcdef", "not-a-secret-not-a-secret-not-a-secret-1")
_TIED: Final = ("setpriv", "--pdeathsig", "KILL", "--")


class RestCatalog:
    """One server, whose state is on disk, and which can be killed and started again.

    Attributes:
        properties: for `grid.bridges.iceberg.catalog`.
    """

    def __init__(self, folder: Path) -> None:
        assert BINARY is not None
        (folder / "lake").mkdir(parents=True)
        port = free_port()
        self._folder = folder
        self._env = {
            **os.environ,
            "LAKANA_DATABASE__URL": f"sqlite:///{folder}/catalog.db",
            "LAKANA_BOOTSTRAP_PAT_KEY_ID": _KEY[0],
            "LAKANA_BOOTSTRAP_PAT_SECRET": _KEY[1],
            "LAKANA_PORT": str(port),
        }
        self._token = "_".join(("lakana_pat", *_KEY))
        self._uri = f"http://127.0.0.1:{port}"
        self.properties = {"type": "rest", "uri": self._uri, "prefix": "test", "token": self._token}
        self._process: subprocess.Popen[bytes] | None = None
        migrate = (BINARY, "migrate")
        subprocess.run(migrate, env=self._env, check=True, capture_output=True, timeout=60)
        self.start()
        storage = {"scheme": "file", "root": f"file://{folder}/lake"}
        self._post("api/v1/environments", {"name": "test", "storage": storage})

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert BINARY is not None
        with (self._folder / "out").open("ab") as out:
            argv = [*_TIED, BINARY]
            self._process = subprocess.Popen(argv, env=self._env, stdout=out, stderr=out)

        def there() -> bool:
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{self._uri}/v1/config", timeout=5).close()
                return True
            return False

        until(there, "the catalog", 60.0)

    def kill(self) -> None:
        """Kill it with -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it."""
        self.kill()

    def _post(self, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self._uri}/{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()
