"""Asks the server on behalf of clients of HTTP and gRPC; what it refuses is an exception."""

import time
from typing import Final

from grid.errors import ArgonautError
from grid.serving import wire
from grid.serving.ends import AsyncAsker

_LOAD_S: Final = 60.0  # for a checkpoint to be loaded
_TOLD_S: Final = 5.0


class Unanswered(ArgonautError):
    """There is no prediction, or nothing was changed; `code` says which kind of why."""

    def __init__(self, refusal: wire.Refusal) -> None:
        super().__init__(refusal.reason)
        self.code = refusal.code


class Oracle:
    """The server, as a front sees it.

    Args:
        asker: to ask with, in the loop that calls.
    """

    def __init__(self, asker: AsyncAsker) -> None:
        self._asker = asker

    async def predict(
        self, model: str, obs: bytes, version: str, timeout_s: float
    ) -> wire.Prediction:
        """Return outputs.

        Raises:
            Unanswered: there are none in time.
        """
        deadline_ns = time.time_ns() + round(timeout_s * 1e9)
        request = wire.Predict(0, model, obs, version, deadline_ns)
        reply = await self._asker.ask(request, timeout_s)
        assert isinstance(reply, wire.Prediction | wire.Refusal)  # nothing else was asked
        if isinstance(reply, wire.Refusal):
            raise Unanswered(reply)
        return reply

    async def ask(self, request: wire.Request) -> wire.Done:
        """Change something.

        Raises:
            Unanswered: nothing was changed.
        """
        timeout_s = _LOAD_S if isinstance(request, wire.Register) else _TOLD_S
        reply = await self._asker.ask(request, timeout_s)
        if isinstance(reply, wire.Refusal):
            raise Unanswered(reply)
        assert isinstance(reply, wire.Done)
        return reply

    async def listing(self) -> wire.Listing:
        """Return what the server has, with counts."""
        reply = await self._asker.ask(wire.Models(0), _TOLD_S)
        if isinstance(reply, wire.Refusal):
            raise Unanswered(reply)
        assert isinstance(reply, wire.Listing)
        return reply

    async def models(self) -> tuple[wire.Model, ...]:
        """Return the models."""
        return (await self.listing()).models

    async def named(self, name: str, version: str) -> tuple[wire.Model, wire.Version]:
        """Return a model and one of its versions, by number or digest.

        Raises:
            Unanswered: there is none.
        """
        models = await self.models()
        model = next((m for m in models if m.name == name), None)
        found = model.version(version) if model else None
        if model is None or found is None:
            what = f"no model {name!r}" if model is None else f"model {name}: no {version!r}"
            raise Unanswered(wire.Refusal(0, "UNKNOWN_MODEL", what))
        return model, found
