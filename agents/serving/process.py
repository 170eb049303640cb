"""The process of a model server."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.registry.registry import Registry
from agents.serving.server import Server
from grid.bus import new_context
from grid.errors import ConfigError
from grid.process import Lifeline
from grid.serving.config import ServingConfig
from grid.serving.ends import Answerer

if TYPE_CHECKING:
    from agents.serving.front import Front

log = logging.getLogger(__name__)

_WITHIN = "inproc://model-server"


def run(config: ServingConfig, models: Path, life: Lifeline) -> None:
    """Serve until `life.stopping`.

    Args:
        config: of the server.
        models: folder of the registry.
        life: of this process.

    Raises:
        BusError: an address is taken, or what serves HTTP and gRPC failed.
        CheckpointError: a model cannot be loaded.
        ConfigError: a device is not there, or a package for HTTP or gRPC.
    """
    context = new_context()
    end = Answerer(context, (_WITHIN, config.endpoint))
    server = front = None
    try:
        server = Server(config, Registry(models), end)
        front = _front(config, context, life)
        if front is not None:
            front.start()
        log.info("ready: %s", end.address)
        life.ready()
        server.run(life, front.has_ended if front else lambda: True)
        if front is not None:
            front.check()
    finally:
        if front is not None:
            front.stop()
        if server is not None:
            server.close()
        end.close()
        context.destroy(linger=500)


def _front(config: ServingConfig, context: Any, life: Lifeline) -> "Front | None":
    if config.http is None and config.grpc is None:
        return None
    try:
        if config.grpc is not None:
            import grpc  # noqa: F401  # found out before anything listens
        from agents.serving.front import Front
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"serve: {e.name} is not installed: pip install 'argonaut-nt[serving]'"
        ) from e
    return Front(config, context, _WITHIN, life)
