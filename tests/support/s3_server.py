"""A real S3 service for tests: the RADOS gateway of Ceph, on a monitor and one disk in memory."""

import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Final

import pytest

from tests.support.gateways import free_port
from tests.support.procs import until

NEEDED: Final = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
needs_s3 = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason="no S3 service (Ceph's) is installed"
)
KEYS: Final = {"AWS_ACCESS_KEY_ID": "argonaut", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
_TIED: Final = ("setpriv", "--pdeathsig", "KILL", "--")

_CONFIG: Final = """[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_objectstore = memstore
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = false
osd_class_update_on_start = false
mon_allow_pool_size_one = true
mon_data = {folder}/mon
mon_data_avail_crit = 1
osd_data = {folder}/osd
run_dir = {folder}
admin_socket =
pid_file =
keyring = {folder}/keyring
log_file = {folder}/$name.log
mon_cluster_log_file = {folder}/cluster.log
"""


class S3Server:
    """One service, whose gateway can be killed and started again; the objects stay.

    Attributes:
        endpoint: its address.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._gateway: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        for name in ("mon", "osd"):
            (folder / name).mkdir(parents=True)
        (folder / "keyring").touch()
        fsid, disk, port = str(uuid.uuid4()), str(uuid.uuid4()), free_port()
        self._config = folder / "ceph.conf"
        self._config.write_text(_CONFIG.format(fsid=fsid, port=port, folder=folder))
        address = f"[v1:127.0.0.1:{port}]"
        monmap = str(folder / "monmap")
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._running.append(self._start("ceph-mon", "-i", "a", "-f"))
        self._run("ceph", "osd", "new", disk)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=here")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._running.append(self._start("ceph-osd", "-i", "0", "-f"))
        self.start()
        key, secret = KEYS.values()
        user = ("--uid", "test", "--display-name", "test", "--access-key", key)
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", *user, "--secret", secret)

    def start(self) -> None:
        """Start the gateway, and wait until it listens."""
        front = f"beast endpoint=127.0.0.1:{self._port}"
        self._gateway = self._start("radosgw", "-n", "client.rgw", "-f", "--rgw_frontends", front)

        def there() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return True
            return False

        until(there, "the gateway", 60.0)

    def kill(self) -> None:
        """Kill the gateway with -9."""
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait()
            self._gateway = None

    def close(self) -> None:
        """End all of it."""
        self.kill()
        for process in reversed(self._running):
            process.kill()
            process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        config = () if program == "monmaptool" else ("-c", str(self._config))
        subprocess.run(
            [program, *config, *arguments], check=True, capture_output=True, timeout=60,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.out").open("ab") as out:
            argv = [*_TIED, program, "-c", str(self._config), *arguments]
            return subprocess.Popen(argv, stdout=out, stderr=out)
