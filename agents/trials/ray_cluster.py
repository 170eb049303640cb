"""Trials on a Ray cluster: datasets and orders go out, run folders and messages come back.

A trial is a Ray task in a worker process of its own, which has nothing of ours on its disk but the
package: the datasets come through Ray's object store, and at every checkpoint the run's folder
comes back, so that another worker can go on from it.
"""

import io
import logging
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from agents.trials.config import Workers
from agents.trials.gpus import Gpu, found
from agents.trials.local import LOGS, tail
from agents.trials.messages import ASSIGNED, Died, Finished, Message, Order, Saved
from agents.trials.work import work
from grid.dataset import names
from grid.errors import ConfigError, ProcessDied
from grid.home import Home

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayError, TaskCancelledError
except ImportError as e:
    raise ConfigError(
        "--on ray: Ray is not installed: install the extra with pip install 'argonaut-nt[ray]'"
    ) from e

log = logging.getLogger(__name__)

_ANSWER_S: Final = 30.0
_ROOT: Final = Path(__file__).resolve().parents[2]


class Cluster:
    """An executor on Ray.

    Args:
        home: of the grid.
        workers: what a trial may use.
        where: `ray` for a Ray of this machine, begun here and ended with the grid; or an address.

    Raises:
        ConfigError: there is no room for one trial.
        ProcessDied: there is no such cluster, or it does not start.
    """

    def __init__(self, home: Home, workers: Workers, where: str) -> None:
        self.name = where
        self._home, self._workers = home, workers
        _connect(where, workers)
        cluster: Any = ray
        total: dict[str, float] = cluster.cluster_resources()
        self._gpus = _gpu_share(workers) if workers.gpu_memory_mb else 0.0
        by_cores = int(total.get("CPU", 1) // workers.cores)
        by_gpus = int(total.get("GPU", 0) / self._gpus) if self._gpus else by_cores
        room = min(by_cores, by_gpus)
        self.slots = room if workers.processes == "auto" else min(room, workers.processes)
        if self.slots < 1:
            raise ConfigError(
                f"--on {where}: expected {workers.cores} cores and {self._gpus:g} GPUs for a "
                f"trial, found {total.get('CPU', 0):g} and {total.get('GPU', 0):g}"
            )
        remote: Any = ray.remote  # its types know no methods by string
        self._mail: Any = remote(num_cpus=0)(Mail).remote()
        self._data = [ray.put(pack(home.datasets / name)) for name in names(home.datasets)]
        options = {"num_cpus": workers.cores, "num_gpus": self._gpus}
        # one trial a process: an engine leaves its traces in one
        self._task = remote(max_calls=1, max_retries=0, **options)(carry_out)
        self._running: dict[str, tuple[Order, Any]] = {}  # trial -> order, its task

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""
        return self.slots - len(self._running)

    def submit(self, order: Order) -> None:
        """Hand a trial to the cluster, with all that it needs."""
        if self._gpus:
            order = msgspec.structs.replace(order, gpu=ASSIGNED, gpu_share=min(1.0, self._gpus))
        folders = [order.trial, *filter(None, [order.parent])]
        runs = {n: pack(self._home.runs / n) for n in folders if (self._home.runs / n).exists()}
        raw = msgspec.json.encode(order)
        task = self._task.remote(raw, list(self._data), runs, self._mail)
        self._running[order.trial] = (order, task)

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what trials have said; their folders have come back before it is told."""
        ended: list[Any] = []
        if self._running:
            tasks = [task for _, task in self._running.values()]
            ended, _ = ray.wait(tasks, num_returns=1, timeout=timeout_s)
        else:
            time.sleep(timeout_s)
        messages = self._collect()
        for name, (order, task) in list(self._running.items()):
            if task in ended:
                del self._running[name]
                messages.append(_end(order, task, self._tail(name)))
        return messages

    def cancel(self, trial: str) -> None:
        """Kill a trial's worker, if it runs."""
        if trial in self._running:
            ray.cancel(self._running[trial][1], force=True)

    def close(self) -> None:
        """Kill all, and leave the cluster."""
        for name in list(self._running):
            self.cancel(name)
        ray.shutdown()

    def _collect(self) -> list[Message]:
        try:
            letters = ray.get(self._mail.take.remote(), timeout=_ANSWER_S)
        except (GetTimeoutError, RayError) as e:
            raise ProcessDied(f"Ray at {self.name} does not answer: {e}") from e
        messages: list[Message] = []
        for raw, folder, text in letters:
            message: Message = msgspec.json.decode(raw, type=Message)
            if folder is not None:
                unpack(folder, self._home.runs)
            with self._log_file(message.trial).open("ab") as out:
                out.write(text)
            messages.append(message)
        return messages

    def _log_file(self, trial: str) -> Path:
        folder = self._home.root / LOGS
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{trial}.log"

    def _tail(self, trial: str) -> str:
        return tail(self._log_file(trial), 0, self._workers.log_lines)


class Mail:
    """An actor that keeps what trials say until the launcher asks."""

    def __init__(self) -> None:
        self._letters: list[tuple[bytes, bytes | None, bytes]] = []

    def put(self, raw: bytes, folder: bytes | None, text: bytes) -> None:
        """Take a message, the run's folder where it has changed, and new lines of its log."""
        self._letters.append((raw, folder, text))

    def take(self) -> list[tuple[bytes, bytes | None, bytes]]:
        """Return all, and forget them."""
        letters, self._letters = self._letters, []
        return letters


def carry_out(raw: bytes, data: list[Any], runs: dict[str, bytes], mail: Any) -> None:
    """Do what a trial's process does, on a worker of the cluster."""
    order = msgspec.json.decode(raw, type=Order)
    with TemporaryDirectory(prefix="argonaut-") as folder:
        home = Home(Path(folder))
        for ref in data:
            unpack(ray.get(ref), home.datasets)
        for content in runs.values():
            unpack(content, home.runs)
        pages = io.StringIO()
        handler = logging.StreamHandler(pages)
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)

        def tell(message: Message) -> None:
            changed = isinstance(message, Saved | Finished)
            run = pack(home.runs / order.trial) if changed else None
            text = pages.getvalue().encode()
            pages.seek(0)
            pages.truncate()
            ray.get(mail.put.remote(msgspec.json.encode(message), run, text), timeout=_ANSWER_S)

        work(order, home, tell)


def pack(folder: Path) -> bytes:
    """Return a folder as a tar archive, links followed, its name the only one at the top."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as tar:
        tar.add(folder, arcname=folder.name, filter=_plain)
    return out.getvalue()


def unpack(content: bytes, parent: Path) -> None:
    """Put a packed folder into `parent`, in place of one of that name."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".draft-", dir=parent) as draft:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(draft, filter="data")
        (made,) = Path(draft).iterdir()
        target = parent / made.name
        if target.exists():
            target.rename(Path(draft) / ".old")
        made.rename(target)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    kept = not member.name.endswith("/lock") and "/.draft-" not in member.name
    return member if kept and "/catalog" not in member.name else None


def _end(order: Order, task: Any, log_lines: str) -> Message:
    """A task that has ended without a word of it has died; if it has said so before, no harm."""
    why = "ended without a result"
    try:
        ray.get(task, timeout=_ANSWER_S)
    except TaskCancelledError:
        why = "was cancelled"
    except RayError as e:
        why = f"lost its worker: {str(e).splitlines()[0]}"
    return Died(trial=order.trial, attempt=order.attempt, why=why, log=log_lines)


def _connect(where: str, workers: Workers) -> None:
    options: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.WARNING,
        "runtime_env": {"env_vars": {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}},
    }
    # `local`: a Ray that left its address behind would be looked for, for minutes
    how = {"address": "local", **options} if where == "ray" else {"address": where}
    for last in (False, True):  # on a busy machine it may miss its own deadline of 30 s
        try:
            ray.init(**how)
            return
        except Exception as e:  # Ray raises exceptions of no class when it cannot start
            ray.shutdown()
            if last:
                why = str(e).splitlines()[0]
                raise ProcessDied(f"--on {where}: no cluster answers: {why}") from e


def _gpu_share(workers: Workers) -> float:
    """Which part of a GPU a trial takes, by the memory of a GPU of the cluster."""
    remote: Any = ray.remote
    try:
        gpus: list[Gpu] = ray.get(remote(num_gpus=0.01)(_ask_gpus).remote(), timeout=120)
    except (GetTimeoutError, RayError) as e:
        raise ConfigError(f"key workers.gpu_memory_mb: no GPU in the cluster: {e}") from e
    if not gpus or gpus[0].total_mb < workers.gpu_memory_mb:
        raise ConfigError(
            f"key workers.gpu_memory_mb: expected a GPU with {workers.gpu_memory_mb:,.0f} MB, "
            f"found {gpus or 'none'}"
        )
    return round(workers.gpu_memory_mb / gpus[0].total_mb, 4)


def _ask_gpus() -> list[Gpu]:
    return found()
