"""One env in a process of its own, which carries out the orders in the shared memory."""

import gc
import os
import select
import time
import traceback
from typing import Any, Final

import gymnasium
import msgspec

from envs import layout
from envs.block import (
    BUILD,
    CALL,
    CLOSE,
    ENDED,
    FAILED,
    OPEN,
    PASS,
    RESET,
    STEP,
    WELL,
    Arrays,
    Head,
)
from envs.recipe import made_of, path_of

_LOOK_S: Final = 5.0  # between looks for the parent, should its death not have been told


class Place(msgspec.Struct, frozen=True):
    """Where the envs meet the trainer.

    Attributes:
        n: envs.
        memory: descriptor of the shared memory.
        wake: eventfd that says: there are orders.
        done: eventfd that says: an order was carried out, or a process has ended.
        life: end of a pipe, closed when the last of the processes has ended.
        logs: a file for what each process writes.
        trainer: process id.
        spin_ns: how long to look for an order, letting others run, before sleeping.
    """

    n: int
    memory: int
    wake: int
    done: int
    life: int
    logs: list[int]
    trainer: int
    spin_ns: int


class Worker:
    """Carries out the orders for one env."""

    def __init__(self, place: Place, index: int) -> None:
        self._place = place
        self._index = index
        self._head = Head(place.memory, place.n)
        self._env: gymnasium.Env[Any, Any]
        self._arrays: Arrays

    def serve(self) -> None:
        """Carry out orders until `CLOSE`."""
        orders = {
            PASS: lambda: WELL,
            BUILD: self._build,
            OPEN: self._open,
            RESET: self._reset,
            STEP: self._step,
            CALL: self._call,
        }
        head, index = self._head, self._index
        memory = head.memory
        order, done, code, state = (
            at + index for at in (head.order, head.done, head.code, head.state)
        )
        now_ns, let_others = time.perf_counter_ns, os.sched_yield
        spin_ns, tell, parent = self._place.spin_ns, self._place.done, os.getppid()
        last = 0
        with select.epoll() as sleep:
            sleep.register(self._place.wake, select.EPOLLIN | select.EPOLLET)
            while True:
                awake_ns = now_ns() + spin_ns
                while memory[order] == last:
                    if now_ns() < awake_ns:
                        let_others()
                    elif not sleep.poll(_LOOK_S, 1) and os.getppid() != parent:
                        return
                last = memory[order]
                what = memory[code]
                if what == CLOSE:
                    break
                try:
                    memory[state] = orders[what]()
                except Exception as e:  # the edge of the process: the trainer raises it again
                    memory[state] = FAILED
                    head.write(index, _told(e))
                memory[done] = last
                os.eventfd_write(tell, 1)
        self._env.close()

    def _build(self) -> int:
        env = self._env = made_of(*self._head.read(self._index)).make()
        about = {
            "obs_space": layout.describe(env.observation_space),
            "action_space": layout.describe(env.action_space),
            "render_mode": env.render_mode,
            "render_modes": env.metadata.get("render_modes", []),
        }
        self._head.write(self._index, about)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection has to look at it again
        return WELL

    def _open(self) -> int:
        env, place = self._env, self._place
        self._arrays = Arrays(place.memory, self._head, env.observation_space, env.action_space)
        return WELL

    def _reset(self) -> int:
        seed, options = self._head.read(self._index)
        obs, info = self._env.reset(seed=seed, options=options)
        layout.put(self._arrays.obs, self._index, obs)
        self._head.write(self._index, info)
        return WELL

    def _step(self) -> int:
        i, arrays = self._index, self._arrays
        action = layout.get(arrays.actions, i)
        obs, arrays.rewards[i], terminated, truncated, info = self._env.step(action)
        if terminated or truncated:
            arrays.ends[i] = terminated, truncated
            layout.put(arrays.last_obs, i, obs)
            obs, first = self._env.reset()
            layout.put(arrays.obs, i, obs)
            self._head.write(i, (info, first))
            return ENDED
        layout.put(arrays.obs, i, obs)
        self._head.write(i, info)
        return WELL

    def _call(self) -> int:
        how, name, args, kwargs = self._head.read(self._index)
        env = self._env
        answer: Any = None
        match how:
            case "get":
                answer = env.get_wrapper_attr(name)
            case "has":
                answer = env.has_wrapper_attr(name)
            case "set":
                env.set_wrapper_attr(name, args[0])
            case "use":
                answer = env.get_wrapper_attr(name)
                if callable(answer):
                    answer = answer(*args, **kwargs)
            case "wrapped":
                answer = name in _layers(env)
            case _:
                raise ValueError(f"expected a way to call, found {how!r}")
        self._head.write(self._index, answer)
        return WELL


def _layers(env: Any) -> set[str]:
    found: set[str] = set()
    while isinstance(env, gymnasium.Wrapper):
        found.update(path_of(kind) for kind in type(env).__mro__)
        env = env.env
    return found


def _told(e: Exception) -> dict[str, str]:
    return {
        "kind": path_of(type(e)),
        "text": str(e),
        "traceback": "".join(traceback.format_exception(e)),
    }
