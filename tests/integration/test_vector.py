"""Envs in processes: the contract, the same bits as one by one, and every way to die."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.vec import SharedVecEnv
from envs.fills import EnvFill
from envs.vector import SharedVectorEnv, seed_of
from grid.errors import ConfigError, EnvError, ProcessDied
from tests.support import contract
from tests.support.contract import bits
from tests.support.envs import SPACES, Clipped, Counting, Trading
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
ACTIONS = np.array([1, 2])


def shared_memory():
    """Names of shared memory such as envs could leave; tests beside this one have others."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "argonaut"))}


@pytest.fixture
def make():
    """Vector envs that are closed at the end, and leave nothing."""
    before = shared_memory()
    made = []

    def build(recipes, kind=SharedVectorEnv, **options):
        made.append(kind(recipes, **options))
        return made[-1]

    yield build
    for env in made:
        env.close()
    assert not psutil.Process().children(recursive=True)
    assert shared_memory() == before


def gone(pids):
    return all(not psutil.pid_exists(p) or psutil.Process(p).status() == "zombie" for p in pids)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == "stopped", 10, "a stopped process")


# -- the contract ----------------------------------------------------------------------------------


@pytest.mark.parametrize("obs", SPACES)
def test_vector_env_keeps_the_contract_of_gymnasium(make, obs):
    contract.check_gymnasium(lambda: make([Counting(obs=obs)] * 2))


@pytest.mark.parametrize("action", SPACES)
def test_vector_env_hands_over_actions_of_every_space(make, action):
    contract.check_gymnasium(lambda: make([Counting(action=action)] * 3))


def test_contract_of_gymnasium_is_kept_by_their_own():
    envs = [Counting().make] * 2
    contract.check_gymnasium(lambda: SyncVectorEnv(envs, autoreset_mode=AutoresetMode.SAME_STEP))


@pytest.mark.parametrize("obs", ["box", "image", "dict"])
def test_vec_env_keeps_the_contract_of_sb3(make, obs):
    recipes = [Counting(obs=obs, action="box", wrapped=True)] * 3
    contract.check_sb3(lambda: make(recipes, SharedVecEnv), Clipped, gymnasium.wrappers.ClipAction)


def test_contract_of_sb3_is_kept_by_their_own():
    recipe = Counting(action="box", wrapped=True)
    contract.check_sb3(
        lambda: DummyVecEnv([recipe.make] * 2), Clipped, gymnasium.wrappers.ClipAction
    )


def test_vector_env_works_in_the_wrappers_of_gymnasium(make):
    env = RecordEpisodeStatistics(make([Counting()] * 2))
    env.reset(seed=0)
    for _ in range(5):
        *_, infos = env.step(ACTIONS)
    assert infos["episode"]["l"].tolist() == [5, 5]


def test_ruin_is_terminated_and_not_truncated(make):
    env = make([Counting(steps=1, ruin=True)] * 2, SharedVecEnv)
    env.reset()
    _, _, dones, infos = env.step(ACTIONS)
    assert dones.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [False, False]


# -- the same bits ---------------------------------------------------------------------------------


def one_by_one(recipe, seed, actions):
    """What an env gives alone: a list of observation, reward, ends and info for each step."""
    env = recipe.make()
    obs, info = env.reset(seed=seed)
    trail = [(bits(obs), info)]
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        step = [bits(obs), reward, terminated, truncated, info]
        if terminated or truncated:
            obs, first = env.reset()
            step += [bits(obs), first]
        trail.append(tuple(step))
    env.close()
    return trail


@pytest.mark.parametrize("target", ["discrete", "continuous"])
def test_envs_together_give_the_bits_of_the_same_envs_one_by_one(make, target):
    recipes = [Trading(kind=target, seed=i) for i in range(3)]
    rng = np.random.default_rng(0)
    shape = (100, 3) if target == "discrete" else (100, 3, 1)
    actions = (
        rng.integers(0, 3, shape)
        if target == "discrete"
        else rng.uniform(-1, 1, shape).astype(np.float32)
    )
    alone = [one_by_one(recipe, seed_of(11, i), actions[:, i]) for i, recipe in enumerate(recipes)]
    env = make(recipes, SharedVecEnv)
    env.seed(11)
    obs = env.reset()
    assert [(bits(obs[i]), env.reset_infos[i]) for i in range(3)] == [a[0] for a in alone]
    ends = fills = 0
    for step, action in enumerate(actions, 1):
        obs, rewards, dones, infos = env.step(action)
        for i, (last, reward, terminated, truncated, info, *first) in enumerate(
            trail[step] for trail in alone
        ):
            assert rewards[i] == reward
            assert dones[i] == (terminated or truncated)
            assert infos[i].pop("TimeLimit.truncated") == (truncated and not terminated)
            if dones[i]:
                ends += 1
                assert bits(infos[i].pop("terminal_observation")) == last
                assert first == [bits(obs[i]), env.reset_infos[i]]
            else:
                assert bits(obs[i]) == last
            assert infos[i] == info
            fills += len(info["fills"])
            assert all(type(fill) is EnvFill for fill in infos[i]["fills"])
    assert ends == 9
    assert fills > 100


def test_same_seed_gives_the_same_episodes_and_another_seed_others(make):
    def play(seed):
        env = make([Trading()] * 2)
        obs, infos = env.reset(seed=seed)
        trail = [bits(obs), infos["row"].tolist()]
        for k in range(40):
            obs, rewards, *_ = env.step(np.array([k % 3, (k + 1) % 3]))
            trail += [bits(obs), rewards.tolist()]
        env.close()
        return trail

    first = play(3)
    assert play(3) == first
    assert play(4) != first
    assert first[1][0] != first[1][1], "the envs of a vector do not start alike"


def test_seeds_of_neighbours_do_not_meet():
    seeds = [seed_of(seed, env) for seed in range(20) for env in range(20)]
    assert len(set(seeds)) == 400


def test_generators_that_are_not_seeded_differ_between_envs(make):
    assert len(set(make([Counting()] * 4).call("numbers"))) == 4


# -- errors ----------------------------------------------------------------------------------------


def test_exception_in_a_step_arrives_with_its_traceback_and_a_reset_heals(make):
    env = make([Counting()] * 2, SharedVecEnv)
    env.reset()
    env.set_attr("mood", "raise", indices=1)
    with pytest.raises(EnvError, match=r"env 1: KeyError: 'the moon'") as e:
        env.step(ACTIONS)
    assert 'raise KeyError("the moon")' in e.value.__notes__[0]
    assert "tests/support/envs.py" in e.value.__notes__[0]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(ACTIONS)
    env.set_attr("mood", "calm")
    env.reset()
    assert env.step(ACTIONS)[3][1]["step"] == 1


def test_our_own_error_in_an_env_is_raised_as_it_was(make):
    env = make([Trading()] * 2)
    env.reset()
    with pytest.raises(ConfigError, match="whole number from 0 to 2, found"):
        env.step(np.array([0, 9]))


def test_env_that_cannot_be_made_is_one_clear_error(make):
    with pytest.raises(EnvError, match="env 1: ValueError: no such env"):
        make([Counting(), Counting(fails=True)])
    assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (np.array([1]), r"expected shape \(2,\) of int64, found \(1,\)"),
        (np.array([1.0, 2.0]), "of float64"),
        ([[1, 2]], r"found \(1, 2\)"),
    ],
)
def test_actions_of_another_shape_or_kind_are_refused(make, actions, said):
    env = make([Counting()] * 2)
    env.reset()
    with pytest.raises(ConfigError, match=said):
        env.step(actions)
    env.step(ACTIONS)


def test_recipes_that_do_not_fit_are_refused(make):
    with pytest.raises(ConfigError, match="env 1: expected the spaces"):
        make([Counting(), Counting(obs="image")])
    with pytest.raises(ConfigError, match="one recipe or more"):
        make([])

    class Local(Counting, frozen=True):
        pass

    with pytest.raises(ConfigError, match=r"importable class, found .*Local"):
        make([Local()])


def test_step_before_reset_and_after_close_says_so(make):
    env = make([Counting()] * 2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(ACTIONS)
    with pytest.raises(ConfigError, match="one an env, found 3"):
        env.reset(seed=[1, 2, 3])
    env.close()
    with pytest.raises(ProcessDied, match="found it closed"):
        env.reset()


def test_calls_out_of_order_are_refused_and_lose_no_step(make):
    env = make([Counting()] * 2)
    env.reset()
    with pytest.raises(gymnasium.error.NoAsyncCallError):
        env.step_wait()
    env.step_async(ACTIONS)
    with pytest.raises(gymnasium.error.AlreadyPendingCallError, match="mood"):
        env.get_attr("mood")
    assert env.step_wait()[4]["step"].tolist() == [1, 1]
    assert env.get_attr("mood") == ("calm", "calm")


# -- death -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("when", ["between steps", "in a step"])
def test_worker_killed_is_an_error_at_once_and_ends_the_others(make, victim, when):
    env = make([Counting()] * 3, SharedVecEnv)
    env.reset()
    pids = env.envs.workers.pids
    actions = np.array([1, 2, 3])
    if when == "in a step":
        env.set_attr("mood", "sleep", indices=victim)
        env.step_async(actions)
    os.kill(pids[victim], signal.SIGKILL)
    began_s = time.monotonic()
    with pytest.raises(ProcessDied, match=f"env {victim}: its process ended by SIGKILL"):
        env.step_wait() if when == "in a step" else env.step(actions)
    assert time.monotonic() - began_s < 5
    until(lambda: gone(pids), 10, "the end of the workers")
    with pytest.raises(ProcessDied, match=f"env {victim}"):
        env.reset()


def test_worker_that_ends_by_itself_leaves_the_end_of_its_log(make):
    env = make([Counting()] * 2)
    env.reset()
    env.set_attr("mood", ("calm", "exit"))
    with pytest.raises(ProcessDied, match=r"env 1: .* exit code 3; its log ends:\nfarewell"):
        env.step(ACTIONS)


@pytest.mark.parametrize("victim", [0, 1])
def test_worker_stopped_is_an_error_within_the_timeout(make, victim):
    env = make([Counting()] * 2, timeout_s=1.0)
    env.reset()
    stop(env.envs.workers.pids[victim])
    with pytest.raises(ProcessDied, match=rf"env {victim}: no answer within 1 s.* is stopped"):
        env.step(ACTIONS)


def test_worker_that_hangs_in_the_env_is_an_error_within_the_timeout(make):
    env = make([Counting()] * 2, timeout_s=1.0)
    env.reset()
    env.set_attr("mood", ("sleep", "calm"))
    with pytest.raises(ProcessDied, match=r"env 0: no answer within 1 s"):
        env.step(ACTIONS)


def test_nursery_killed_is_an_error_and_takes_the_workers_with_it(make):
    env = make([Counting()] * 2)
    env.reset()
    pids = env.envs.workers.pids
    [nursery] = psutil.Process().children()
    nursery.kill()
    until(lambda: gone(pids), 10, "the end of the workers")
    with pytest.raises(ProcessDied, match="the process that starts the envs ended by SIGKILL"):
        env.step(ACTIONS)


def test_close_ends_a_stopped_worker_too(make):
    env = make([Counting()] * 2, SharedVecEnv)
    pids = env.envs.workers.pids
    stop(pids[1])
    env.close()
    until(lambda: gone(pids), 10, "the end of the workers")


def test_vector_env_that_is_dropped_ends_its_workers():
    env = SharedVectorEnv([Counting()] * 2)
    pids = env.envs.workers.pids
    del env
    gc.collect()
    until(lambda: gone(pids), 10, "the end of the workers")


def test_interrupted_wait_is_made_up_for_by_the_next_reset(make, monkeypatch):
    env = make([Counting()] * 2)
    env.reset(seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(env.envs, "_wait", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            env.step(ACTIONS)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(ACTIONS)
    obs, _ = env.reset(seed=1)
    assert bits(obs) == bits(env.reset(seed=1)[0])


SCRIPT = """
import torch  # the trainer has it, the workers must not
from agents.vec import SharedVecEnv
from tests.support.envs import Trading

if __name__ == "__main__":
    env = SharedVecEnv([Trading()] * 2)
    env.reset()
    print(*env.envs.workers.pids, flush=True)
    while True:
        env.step([0, 1])
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_trainer_killed_leaves_no_orphan_and_no_file(procs, tmp_path, stopped):
    before = shared_memory()
    script = tmp_path / "trainer.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    trainer = procs.start("env", f"PYTHONPATH={env['PYTHONPATH']}", sys.executable, script)
    until(lambda: trainer.text.endswith("\n") or trainer.popen.poll() is not None, 60, "the pids")
    pids = [int(pid) for pid in trainer.text.split()]
    assert len(pids) == 2, trainer.text
    for pid in pids:
        assert "torch" not in Path(f"/proc/{pid}/maps").read_text()
    family = [p.pid for p in psutil.Process(trainer.pid).children(recursive=True)]
    assert set(pids) < set(family)
    if stopped:
        stop(pids[0])
    trainer.kill()
    until(lambda: gone(family), 10, "the end of the workers")
    assert shared_memory() == before


def test_worker_loads_neither_torch_nor_what_the_trainer_loads(make):
    heavy = ["torch", "stable_baselines3", "agents.vec", "tests.integration.test_vector"]
    env = make([Counting()] * 2)
    assert "torch" in sys.modules
    assert env.call("loaded", heavy) == ([], [])


def test_nursery_with_the_engine_loads_no_torch():
    code = "import sys, envs.nursery, envs.trading_recipe as r; print('torch' in sys.modules)"
    python = [sys.executable, "-c", code]
    found = subprocess.run(python, cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert found.stdout.strip() == b"False"


def test_nursery_has_one_thread_and_no_engine(make):
    make([Trading()] * 2)
    [nursery] = psutil.Process().children()
    assert nursery.num_threads() == 1
