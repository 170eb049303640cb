"""Envs in processes of their own, that share memory with the trainer.

What the vector envs of Gymnasium and stable-baselines3 are made of. Every wait has an end: a worker
that dies or stays silent is an error with the end of its log.
"""

import contextlib
import os
import select
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NoReturn

import gymnasium
import msgspec
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded

from envs import layout
from envs.block import BUILD, CALL, CLOSE, ENDED, FAILED, OPEN, PASS, RESET, STEP, Arrays, Head
from envs.recipe import Recipe, plain
from envs.workers import Workers
from grid import errors
from grid.errors import ArgonautError, ConfigError, EnvError, ProcessDied

TIMEOUT_S: Final = 60.0
START_S: Final = 120.0  # imports the engine and makes the envs
SPIN_NS: Final = 50_000

type Info = dict[str, Any]


class SharedEnvs:
    """Envs that step at the same time.

    Attributes:
        n: envs.
        obs_space: of one env.
        action_space: of one env.
        render_mode: of the envs.
        render_modes: that they know.
        arrays: what they observe, rewards, ends; of the last step, until the next one begins.
        workers: their processes.

    Args:
        recipes: one an env, all with the same spaces. Make it in a thread that lives as long as
            the envs: the system ends the workers with the thread that started them.
        timeout_s: for whatever an env is asked, once it is made.
        spin_ns: how long to look for an answer, letting others run, before sleeping.

    Raises:
        ConfigError: the recipes do not fit together or cannot be imported.
        ProcessDied: a worker ended or stayed silent; every call can raise it.
        EnvError: an env raised an exception; every call can raise it, with the traceback in the
            notes. An `ArgonautError` is raised as it was.
    """

    def __init__(
        self, recipes: Sequence[Recipe], *, timeout_s: float = TIMEOUT_S, spin_ns: int = SPIN_NS
    ) -> None:
        if not recipes:
            raise ConfigError("vector env: expected one recipe or more, found none")
        letters = {i: plain(recipe) for i, recipe in enumerate(recipes)}
        self.n = n = len(recipes)
        self._timeout_s, self._spin_ns = START_S, spin_ns
        self._types = recipes[0].info_types()
        self._count = 0
        self._pending = self._stepping = self._ready = False
        self._memory = os.memfd_create("argonaut-envs")
        self._wake, self._done = os.eventfd(0), os.eventfd(0)
        self._finalizer = weakref.finalize(self, _close, self._memory, self._wake, self._done)
        self._head = Head(self._memory, n)
        self._send(BUILD, letters)
        self.workers = Workers(self._head, self._memory, self._wake, self._done, spin_ns)
        self._poll = select.epoll()
        self._poll.register(self._done, select.EPOLLIN | select.EPOLLET)
        self._poll.register(self.workers.nursery, select.EPOLLIN)
        try:
            self._wait()
            self.obs_space, self.action_space = _agreed([self._head.read(i) for i in range(n)])
            about = self._head.read(0)
            self.render_mode, self.render_modes = about["render_mode"], about["render_modes"]
            self.arrays = Arrays(self._memory, self._head, self.obs_space, self.action_space)
            self._order(OPEN)
            self._wait()
            self._timeout_s = timeout_s
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int | None], options: Sequence[Any]) -> list[Info]:
        """Start an episode in every env and return their infos."""
        self._order(RESET, dict(enumerate(zip(seeds, options, strict=True))))
        self._wait()
        self._ready = True
        return [self._typed(self._head.read(i)) for i in range(self.n)]

    def begin(self, actions: Any) -> None:
        """Let every env begin a step.

        Raises:
            ConfigError: the actions have another shape or kind.
            ResetNeeded: the envs were not reset, not even after an error.
        """
        self._check_open()
        if not self._ready:
            raise ResetNeeded("step of envs that are not reset: call reset first")
        layout.put_all(self.arrays.actions, actions)
        self._ready = False  # until the step has gone well
        self._order(STEP)
        self._stepping = True

    def end(self) -> tuple[list[Info], dict[int, Info]]:
        """Return the infos of the step, and for envs whose episode ended those of the reset."""
        self._check_open()
        if not self._stepping:
            raise NoAsyncCallError("end of a step: expected `begin` before it", "step")
        states = self._wait()
        self._ready = True
        infos = list(map(self._head.read, range(self.n)))
        first: dict[int, Info] = {}
        if ENDED in states:
            for i, state in enumerate(states):
                if state == ENDED:
                    infos[i], began = infos[i]
                    first[i] = self._typed(began)
        if self._types:
            for info in infos:
                self._typed(info)
        return infos, first

    def call(
        self, how: str, name: str, *args: Any, envs: Sequence[int] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Get, set, use or call an attribute of some envs; see `envs.vector_worker`."""
        if self._stepping:
            raise AlreadyPendingCallError(f"{name}: expected no step under way", "step")
        envs = range(self.n) if envs is None else envs
        self._order(CALL, dict.fromkeys(envs, (how, name, args, kwargs)))
        self._wait()
        return [self._head.read(i) for i in envs]

    def close(self) -> None:
        """End the workers, one way or another; harmless when closed already."""
        if self._finalizer.alive:
            self._tell(_all(self.n, CLOSE))
            self.workers.close()
            self._poll.close()
            self._finalizer()

    def _order(self, code: int, letters: Mapping[int, Any] | None = None) -> None:
        self._check_open()
        if self._pending:  # the last wait was interrupted
            with contextlib.suppress(ArgonautError):
                self._wait()
            self._check_open()
        self._send(code, letters)

    def _send(self, code: int, letters: Mapping[int, Any] | None = None) -> None:
        """Order all envs, or those with a letter while the others pass."""
        codes = _all(self.n, code)
        if letters is not None:
            for env, letter in letters.items():
                self._head.write(env, letter)
            codes = bytes(code if i in letters else PASS for i in range(self.n))
        self._pending = True
        self._tell(codes)

    def _check_open(self) -> None:
        if self.workers.over:
            raise ProcessDied(self.workers.over)

    def _tell(self, codes: bytes) -> None:
        head, n = self._head, self.n
        head.memory[head.code : head.code + n] = codes
        self._count = count = (self._count + 1) & 255
        head.memory[head.order : head.order + n] = _all(n, count)
        os.eventfd_write(self._wake, 1)

    def _wait(self) -> bytes:
        """Return the state of each env once all have carried out the order."""
        head = self._head
        memory, start, end = head.memory, head.done, head.done + self.n
        want = _all(self.n, self._count)
        now_ns, let_others = time.perf_counter_ns, os.sched_yield
        awake_ns = now_ns() + self._spin_ns
        while memory[start:end] != want:
            if now_ns() < awake_ns:
                let_others()
            else:
                self._sleep(want)
        self._pending = self._stepping = False
        states: bytes = memory[head.state : head.state + self.n]
        if FAILED in states:
            self._raise(states.index(FAILED))
        return states

    def _sleep(self, want: bytes) -> None:
        memory, start, end = self._head.memory, self._head.done, self._head.done + self.n
        deadline = time.monotonic() + self._timeout_s
        while memory[start:end] != want:
            self.workers.check()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                missing = (i for i in range(self.n) if memory[start + i] != want[i])
                self.workers.silent(next(missing), self._timeout_s)
            self._poll.poll(left_s)

    def _raise(self, env: int) -> NoReturn:
        told = self._head.read(env)
        module, _, name = told["kind"].partition(":")
        if module == errors.__name__:
            error = getattr(errors, name)(told["text"])
        else:
            error = EnvError(f"env {env}: {name}: {told['text']}")
        error.add_note(f"in env {env}, a process of its own:\n{told['traceback']}")
        raise error

    def _typed(self, info: Info) -> Info:
        for key, kind in self._types.items():
            if info.get(key):
                info[key] = msgspec.convert(info[key], kind)
        return info


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


@cache
def _all(n: int, value: int) -> bytes:
    return bytes([value]) * n


def _agreed(said: list[dict[str, Any]]) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    spaces = [(layout.restore(s["obs_space"]), layout.restore(s["action_space"])) for s in said]
    for env, found in enumerate(spaces):
        if found != spaces[0]:
            raise ConfigError(f"env {env}: expected the spaces {spaces[0]}, found {found}")
    return spaces[0]
