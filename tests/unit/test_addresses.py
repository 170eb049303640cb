from pathlib import Path

import msgspec
import pytest

from grid import config
from grid.bus import Addresses
from grid.errors import ConfigError


def test_addresses_default_to_loopback_ports_of_their_own() -> None:
    ends = msgspec.to_builtins(Addresses())
    assert len(set(ends.values())) == 6
    assert all(end.startswith("tcp://127.0.0.1:") for end in ends.values())


def test_addresses_in_a_folder_are_sockets_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    found = Addresses.ipc(folder)
    assert found.events_in == f"ipc://{folder}/events_in"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_addresses_in_a_deep_folder_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="at most 100 bytes"):
        Addresses.ipc(folder)
    assert not folder.exists()


@pytest.mark.parametrize("end", ["127.0.0.1:5570", "tcp://127.0.0.1", "udp://h:1", "ipc://", ""])
def test_addresses_that_are_no_endpoints_die_with_their_key(end: str) -> None:
    with pytest.raises(ConfigError, match="key requests"):
        config.convert({"requests": end}, Addresses, "grid.toml")


def test_addresses_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="tcp://h:1 twice"):
        config.convert({"feed": "tcp://h:1", "requests": "tcp://h:1"}, Addresses, "grid.toml")
