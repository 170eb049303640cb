"""The relay of bytes, between a plain client and an echo."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from agents.chaos.links import Links
from agents.chaos.relay import Relay
from tests.support.procs import until


@pytest.fixture
def echo() -> Iterator[str]:
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
        except OSError:
            pass

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5.0)


@pytest.fixture
def links(echo: str) -> Iterator[Links]:
    made = Links({"echo": echo, "nowhere": "tcp://127.0.0.1:1"})
    yield made
    made.close()


def connect(links: Links, name: str = "echo") -> socket.socket:
    host, port = links.addresses[name].removeprefix("tcp://").split(":")
    client = socket.create_connection((host, int(port)), timeout=5.0)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def came_back(client: socket.socket, data: bytes = b"hello") -> float:
    """Send and wait for the echo; return how long it took."""
    began_s = time.monotonic()
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        got += client.recv(65_536)
    assert got == data
    return time.monotonic() - began_s


def test_relay_passes_bytes_both_ways_and_to_each_client_its_own(links: Links) -> None:
    with connect(links) as one, connect(links) as two:
        came_back(one, bytes(range(256)) * 1_000)
        came_back(two, b"x")
    links.do("echo", lambda relay: check(relay.carried == 2 * 256_001))


def check(fact: bool) -> None:
    assert fact


def test_delayed_link_is_late_both_ways_and_good_again_when_healed(links: Links) -> None:
    def delay(relay: Relay) -> None:
        relay.delay_s = 0.05

    with connect(links) as client:
        came_back(client)
        links.do("echo", delay)
        assert came_back(client) >= 0.1
        links.heal()
        assert came_back(client) < 0.1


def test_stalled_link_keeps_bytes_and_connection(links: Links) -> None:
    with connect(links) as client:
        came_back(client)
        links.do("echo", Relay.stall)
        client.sendall(b"late")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(10)
        links.heal()
        client.settimeout(5.0)
        assert client.recv(10) == b"late"


def test_narrow_link_lets_through_so_many_bytes_a_second(links: Links) -> None:
    def narrow(relay: Relay) -> None:
        relay.bytes_per_s = 100_000.0

    with connect(links) as client:
        links.do("echo", narrow)
        assert came_back(client, bytes(5_000)) >= 0.1


def test_cut_link_resets_its_connections_and_takes_new_ones(links: Links) -> None:
    with connect(links) as client:
        came_back(client)
        links.do("echo", Relay.cut)
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    with connect(links) as client:
        came_back(client)


def test_half_open_link_takes_and_gives_nothing_until_healed(links: Links) -> None:
    with connect(links) as client:
        came_back(client)
        links.do("echo", Relay.swallow)
        client.settimeout(0.1)
        for _ in range(3):
            client.sendall(b"into nowhere")
            with pytest.raises(TimeoutError):
                client.recv(10)
        links.heal()
        client.settimeout(5.0)
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_client_of_an_end_that_is_not_there_is_hung_up_on(links: Links) -> None:
    def hung_up() -> bool:
        try:
            with connect(links, "nowhere") as client:
                return client.recv(1) == b""
        except ConnectionResetError:
            return True

    assert until(hung_up, "the end of the connection")
