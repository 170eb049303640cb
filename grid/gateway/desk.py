"""What the routes share: the grid's state, the door, the way to the strategy."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from grid.gateway.asking import Asking
from grid.gateway.config import GatewayConfig
from grid.gateway.disk import Models
from grid.gateway.door import Door
from grid.gateway.keys import ApiKey
from grid.gateway.listener import Listener
from grid.gateway.shelf import Shelf
from grid.gateway.training import Training
from grid.home import Home
from grid.topology import GridConfig


@dataclass
class Desk:
    """Everything that a route may use.

    Attributes:
        config: of the grid.
        gateway: its section on this process.
        home: the folder of sessions and runs.
        listener: what is known of the grid.
        asking: the way to the strategy.
        door: who comes in.
        models: lists the registry.
        training: tells of training grids.
        shelf: reads recorded sessions.
        version: of this program.
    """

    config: GridConfig
    gateway: GatewayConfig
    home: Home
    listener: Listener
    asking: Asking
    door: Door
    models: Models
    training: Training
    shelf: Shelf
    version: str
    started_s: float = field(default_factory=time.monotonic)


def desk_of(request: Request) -> Desk:
    """Return the app's desk."""
    found: Desk = request.app.state.desk
    return found


def reader(request: Request) -> ApiKey:
    """Let in who may read."""
    return _enter(request, "read")


def trader(request: Request) -> ApiKey:
    """Let in who may order at this grid's venue."""
    return _enter(request, desk_of(request).door.mode)


def _enter(request: Request, scope: str) -> ApiKey:
    peer = request.client.host if request.client else ""
    return desk_of(request).door.enter(request.headers, peer, scope)  # type: ignore[arg-type]


def client_order_id(key: ApiKey, idempotency_key: str) -> str:
    """Return the one client order id of a key's order: a twin has the same."""
    text = f"{key.name}\0{idempotency_key}".encode()
    return f"manual-{hashlib.blake2b(text, digest_size=12).hexdigest()}"


AtDesk = Annotated[Desk, Depends(desk_of)]
Reader = Annotated[ApiKey, Depends(reader)]
Trader = Annotated[ApiKey, Depends(trader)]
