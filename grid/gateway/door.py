"""Who comes in: the key, the origin, the host, how often; the same for REST and WebSocket."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from grid.errors import ConfigError
from grid.gateway.config import GatewayConfig, is_loopback
from grid.gateway.keys import OPEN, ApiKey, ApiKeys, Scope
from grid.gateway.problem import Refusal
from grid.gateway.quota import Bucket

TICKET_S: Final = 30.0
_TICKETS: Final = 1_000


class Door:
    """Lets requests in, or raises `Refusal`.

    Args:
        config: of the gateway.
        keys: that there are.
        mode: scope that orders need at this grid's venue.

    Attributes:
        counts: `refused` requests, `limited` ones.

    Raises:
        ConfigError: others can reach the gateway, and there is no key.
    """

    def __init__(self, config: GatewayConfig, keys: ApiKeys, mode: Scope) -> None:
        if not config.is_local and keys.is_empty:
            raise ConfigError(
                f"gateway.host {config.host}: others can reach it, so an API key is expected, found"
                " none; make one with `gateway keys new NAME --scope read`"
            )
        self.counts = {"refused": 0, "limited": 0}
        self.mode = mode
        self._config = config
        self._keys = keys
        self._bucket = Bucket(config.rate_per_s, config.burst)
        self._tickets: OrderedDict[str, tuple[ApiKey, float]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return self._config.is_local and self._keys.is_empty

    def enter(self, headers: Mapping[str, str], peer: str, scope: Scope) -> ApiKey:
        """Return whose request it is, if it may be made.

        Raises:
            Refusal: 401, 403 or 429.
        """
        self._check_origin(headers)
        key = self._key(headers, peer)
        return self.admit(key, scope)

    def admit(self, key: ApiKey, scope: Scope) -> ApiKey:
        """Return the key again, if it is good for that, and was not used too often."""
        if wait_s := self._bucket.wait_s(key.name, time.monotonic()):
            self.counts["limited"] += 1
            raise Refusal(429, "too many requests with this key", {"Retry-After": str(wait_s)})
        if not key.allows(scope):
            self.counts["refused"] += 1
            raise Refusal(403, f"key {key.name!r}: scope {scope!r} is expected")
        return key

    def ticket(self, key: ApiKey) -> str:
        """Return a word that lets in once, in place of the key."""
        word = secrets.token_urlsafe(24)
        self._tickets[word] = key, time.monotonic() + TICKET_S
        while len(self._tickets) > _TICKETS:
            self._tickets.popitem(last=False)
        return word

    def enter_with(self, ticket: str, headers: Mapping[str, str]) -> ApiKey:
        """Return whose ticket it is, which is good no more.

        Raises:
            Refusal: it is not good, or 403 or 429.
        """
        self._check_origin(headers)
        key, until_s = self._tickets.pop(ticket, (None, 0.0))
        if key is None or time.monotonic() > until_s:
            self.counts["refused"] += 1
            raise Refusal(401, "a ticket that was not used and is not older than 30 s is expected")
        return self.admit(key, "read")

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin and origin not in self._config.origins and urlsplit(origin).netloc != host:
            self.counts["refused"] += 1
            raise Refusal(403, "origin: expected the gateway's own, or one of gateway.origins")

    def _key(self, headers: Mapping[str, str], peer: str) -> ApiKey:
        text = headers.get("x-api-key") or ""
        kind, _, bearer = (headers.get("authorization") or "").partition(" ")
        if not text and kind.lower() == "bearer":
            text = bearer.strip()
        if self.is_open and not text:
            self._check_host(headers)
            return OPEN
        key = self._keys.holder(text) if text else None
        if key is not None:
            return key
        self.counts["refused"] += 1
        if wait_s := self._bucket.wait_s(f"peer {peer}", time.monotonic()):
            raise Refusal(429, "too many requests without a key", {"Retry-After": str(wait_s)})
        said = "unknown or revoked" if text else "expected as X-API-Key or Authorization: Bearer"
        raise Refusal(401, f"API key: {said}", {"WWW-Authenticate": "Bearer"})

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """A name that others own could be pointed at this machine by its owner, in a browser."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if not (is_loopback(host) or host in self._config.hosts):
            self.counts["refused"] += 1
            raise Refusal(403, f"host: expected localhost or one of gateway.hosts, found {host!r}")
