"""The models of a server, by name and version: what is asked for, what is loaded. No clock."""

from collections.abc import Iterator
from typing import Final

from agents.serving.lane import Lane
from agents.serving.network import Network
from agents.serving.sources import Source
from agents.serving.stats import Tally
from grid.serving import wire
from grid.serving.config import ServingConfig

_NS_PER_US: Final = 1_000


class Refused(Exception):
    """What is asked for is not to be had."""

    def __init__(self, code: wire.Code, reason: str) -> None:
        super().__init__(reason)
        self.code: wire.Code = code
        self.reason = reason


class Version:
    """A network with its queue."""

    def __init__(self, number: str, network: Network, lane: Lane, loaded_ns: int) -> None:
        self.number = number
        self.network = network
        self.lane = lane
        self.tally = Tally()
        self.loaded_ns = loaded_ns
        self.leaving = False  # it takes no request any more, and goes when none waits

    def told(self) -> wire.Version:
        """Return what the protocol says of it."""
        return wire.Version(
            version=self.number,
            digest=self.network.digest,
            obs_size=self.network.size,
            width=self.network.width,
            batched=self.network.batched,
            loaded_ns=self.loaded_ns,
            spec_digest=self.network.spec.digest,
            stats=self.tally.stats(len(self.lane)),
        )


class Model:
    """Versions under one name."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.source = source
        self.default = ""
        self.workers = 1
        self.versions: dict[str, Version] = {}  # in the order of loading

    def version(self, wanted: str) -> Version:
        """Return a version by number or digest, the default for an empty one; `Refused` if none."""
        wanted = wanted or self.default
        found = self.versions.get(wanted)
        if found is None:
            same = [v for v in self.versions.values() if v.network.digest == wanted]
            found = same[-1] if same else None
        if found is None or found.leaving:
            known = ", ".join(n for n, v in self.versions.items() if not v.leaving)
            raise Refused(
                "UNKNOWN_MODEL", f"model {self.name} has no version {wanted!r}; there are: {known}"
            )
        return found


class Shelf:
    """All models of a server.

    Args:
        config: for queues and batches.
    """

    def __init__(self, config: ServingConfig) -> None:
        self._config = config
        self.models: dict[str, Model] = {}

    def add(self, name: str, source: Source, number: str, network: Network, now_ns: int) -> Version:
        """Put a network there.

        Of a followed name it becomes the default, and the oldest versions beyond `keep_versions`
        leave; another source's first version is the default until somebody says otherwise.

        Raises:
            Refused: what the model's other versions mean by an observation is something else.
        """
        model = self.models.get(name) or Model(name, source)
        for other in list(model.versions.values())[-1:]:
            if other.network.spec.digest != network.spec.digest:
                raise Refused(
                    "REFUSED",
                    f"model {name}: checkpoint {network.digest} sees or does other things than "
                    f"{other.network.digest}, which stays",
                )
        number = number or _free(model)
        version = model.versions.get(number)
        if version is None or version.network.digest != network.digest:
            config = self._config
            lane = Lane(config.max_batch, round(config.max_wait_us * _NS_PER_US), config.queue)
            version = model.versions[number] = Version(number, network, lane, now_ns)
        version.leaving = False
        default = model.versions.get(model.default)
        if source.followed or default is None or default.leaving:
            model.default = number
        model.source = source
        self.models[name] = model
        if source.followed:
            staying = [v for v in model.versions.values() if not v.leaving]
            for old in staying[: -config.keep_versions]:
                old.leaving = True
        return version

    def model(self, name: str) -> Model:
        """Return a model; `Refused` if there is none."""
        if name not in self.models:
            known = ", ".join(self.models) or "none"
            raise Refused("UNKNOWN_MODEL", f"no model {name!r}; there are: {known}")
        return self.models[name]

    def find(self, name: str, version: str) -> Version:
        """Return the version that is to answer; `Refused` if none may."""
        model = self.model(name)
        found = model.version(version)
        if not model.workers:
            raise Refused("UNAVAILABLE", f"model {name} is scaled to no worker")
        return found

    def remove(self, name: str, number: str) -> str:
        """Let a version leave, or the model; return the number.

        Raises:
            Refused: there is none, or it is the default beside others.
        """
        model = self.model(name)
        if not number:
            for version in model.versions.values():
                version.leaving = True
            return ""
        version = model.version(number)
        others = [v for v in model.versions.values() if not v.leaving and v is not version]
        if version.number == model.default and others:
            raise Refused(
                "REFUSED",
                f"model {name}: version {version.number} is the default; make another one that",
            )
        version.leaving = True
        return version.number

    def sweep(self) -> list[tuple[str, Version]]:
        """Drop what leaves and for which nothing waits; return it with its model's name."""
        gone = []
        for model in list(self.models.values()):
            for number, version in list(model.versions.items()):
                if version.leaving and not len(version.lane):
                    del model.versions[number]
                    gone.append((model.name, version))
            if not model.versions:
                del self.models[model.name]
        return gone

    def versions(self) -> Iterator[Version]:
        """Give out every version that is loaded."""
        for model in self.models.values():
            yield from model.versions.values()

    def told(self) -> tuple[wire.Model, ...]:
        """Return what the protocol says of all."""
        return tuple(
            wire.Model(
                name=model.name,
                source=model.source.text,
                default=model.default,
                workers=model.workers,
                max_batch=self._config.max_batch,
                max_wait_us=self._config.max_wait_us,
                versions=tuple(v.told() for v in model.versions.values() if not v.leaving),
            )
            for model in self.models.values()
        )


def _free(model: Model) -> str:
    return str(max((int(n) for n in model.versions), default=0) + 1)
