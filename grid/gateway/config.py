"""The section `[gateway]` of a grid. No web framework here: every process reads it."""

from ipaddress import ip_address
from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens, and whom it lets in.

    Attributes:
        host: address that it binds; one that is not loopback's asks for an API key.
        port: TCP port; 0 for one that is free, which the log names.
        origins: of web pages that may use it beside its own, as in `https://desk.example`.
        hosts: names that it is reached by, beside loopback's, while no API key is made.
        rate_per_s: requests of one key a second.
        burst: of them at once.
        clients: WebSockets at a time.
        cert: PEM file of its certificate; with it, TLS.
        cert_key: PEM file of the certificate's key.
    """

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8180
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    rate_per_s: Positive = 50.0
    burst: Annotated[int, msgspec.Meta(ge=1)] = 100
    clients: Annotated[int, msgspec.Meta(ge=1)] = 100
    cert: str = ""
    cert_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.cert_key):
            raise ValueError("expected cert and cert_key together, found one of them")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Say whether a host name means this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
