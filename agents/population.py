"""Many PPO agents in one process: their networks stacked, each operation done for all at once.

An experiment, see `docs/decisions/0022-a-stacked-population.md`; nothing trains with it yet. The
update is that of stable-baselines3's PPO, which is its test. All members have one shape of network,
observation, action and rollout; learning rate, discount, clip range and weights are their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from stable_baselines3 import PPO
from torch import Tensor

_BETAS: Final = (0.9, 0.999)
_LEAST: Final = 1e-8  # beside the deviation of advantages


@dataclass(frozen=True)
class Rollout:
    """Decisions of all members: tensors [members, decisions] or [members, decisions, obs].

    Attributes:
        obs: float32.
        actions: int64.
        values: as the network judged them then.
        log_probs: of the actions then.
        advantages: by `advantages`.
        returns: advantages plus values.
    """

    obs: Tensor
    actions: Tensor
    values: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class Population:
    """PPO agents of discrete actions with tanh networks, stacked.

    Args:
        models: one a member, of one shape; their weights and parameters are taken over.
        device: where the stack lives.
    """

    def __init__(self, models: Sequence[PPO], device: str = "cpu") -> None:
        def own(name: str) -> Tensor:
            found = [getattr(m, name) for m in models]
            return torch.tensor(
                [float(x(1.0)) if callable(x) else float(x) for x in found], device=device
            )

        self.members = len(models)
        states = [dict(m.policy.named_parameters()) for m in models]
        self.names = list(states[0])
        self.parameters = {
            name: torch.stack([s[name].detach() for s in states]).to(device).requires_grad_()
            for name in self.names
        }
        self.learning_rate, self.clip_range = own("learning_rate"), own("clip_range")
        self.gamma, self.gae_lambda = own("gamma"), own("gae_lambda")
        self.ent_coef, self.vf_coef = own("ent_coef"), own("vf_coef")
        self.max_grad_norm = own("max_grad_norm")
        self._eps = float(models[0].policy.optimizer.defaults["eps"])
        self._moments = {n: [torch.zeros_like(p) for _ in _BETAS] for n, p in self._items()}
        self._steps = 0

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log probabilities [members, n, actions] and values [members, n] of obs."""
        policy, value = (self._hidden(obs, part) for part in ("policy_net", "value_net"))
        logits = self._linear(policy, "action_net")
        return logits.log_softmax(-1), self._linear(value, "value_net").squeeze(-1)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return drawn actions, their values and log probabilities, [members, n] each."""
        log_probs, values = self.forward(obs)
        flat = log_probs.exp().flatten(0, 1)
        actions = torch.multinomial(flat, 1, generator=generator).view(values.shape)
        return actions, values, _of(log_probs, actions)

    def advantages(self, rewards: Tensor, values: Tensor, begins: Tensor) -> Tensor:
        """Return generalized advantages (Schulman et al. 2016), float32 [steps, members, envs].

        Args:
            rewards: [steps, members, envs].
            values: [steps + 1, members, envs], the last of what follows the rollout.
            begins: the same shape, 1 where an episode begins.
        """
        gamma, decay = self.gamma[:, None], (self.gamma * self.gae_lambda)[:, None]
        found, after = torch.empty_like(rewards), torch.zeros_like(rewards[0])
        for i in range(len(rewards) - 1, -1, -1):
            goes_on = 1.0 - begins[i + 1]
            delta = rewards[i] + gamma * values[i + 1] * goes_on - values[i]
            after = found[i] = delta + decay * goes_on * after
        return found

    def update(self, rollout: Rollout, order: Tensor) -> Tensor:
        """Take one gradient step with each member on its minibatch; return losses, [members].

        Args:
            rollout: of all members.
            order: int64 [members, batch], indices of decisions.
        """
        losses = self._losses(rollout, order)
        grads = torch.autograd.grad(losses.sum(), [p for _, p in self._items()])
        with torch.no_grad():
            self._adam(dict(zip(self.names, self._clipped(grads), strict=True)))
        return losses.detach()

    def _losses(self, r: Rollout, order: Tensor) -> Tensor:
        obs = r.obs.gather(1, order[..., None].expand(-1, -1, r.obs.shape[-1]))
        all_log_probs, values = self.forward(obs)
        log_probs = _of(all_log_probs, r.actions.gather(1, order))
        entropy = -(all_log_probs.exp() * all_log_probs).sum(-1)
        advantages = r.advantages.gather(1, order)
        spread = advantages.std(1, keepdim=True) + _LEAST
        advantages = (advantages - advantages.mean(1, keepdim=True)) / spread
        ratio = (log_probs - r.log_probs.gather(1, order)).exp()
        clip = self.clip_range[:, None]
        held = torch.minimum(torch.maximum(ratio, 1.0 - clip), 1.0 + clip)
        gain = torch.minimum(advantages * ratio, advantages * held).mean(1)
        wrong = ((r.returns.gather(1, order) - values) ** 2).mean(1)
        return -gain - self.ent_coef * entropy.mean(1) + self.vf_coef * wrong

    def _clipped(self, grads: Sequence[Tensor]) -> list[Tensor]:
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)
        factor = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        return [g * _over(factor, g) for g in grads]

    def _adam(self, grads: dict[str, Tensor]) -> None:
        """Adam (Kingma and Ba 2015), with a learning rate for each member."""
        self._steps += 1
        first, second = (1.0 - beta**self._steps for beta in _BETAS)
        for name, p in self._items():
            g, (m, v) = grads[name], self._moments[name]
            m.lerp_(g, 1.0 - _BETAS[0])
            v.mul_(_BETAS[1]).addcmul_(g, g, value=1.0 - _BETAS[1])
            step = m / (v.sqrt() / math.sqrt(second) + self._eps)
            p.sub_(_over(self.learning_rate / first, p) * step)

    def _hidden(self, x: Tensor, part: str) -> Tensor:
        prefix, i = f"mlp_extractor.{part}", 0
        while f"{prefix}.{i}.weight" in self.parameters:
            x = self._linear(x, f"{prefix}.{i}").tanh()
            i += 2  # an activation lies between
        return x

    def _linear(self, x: Tensor, name: str) -> Tensor:
        weight, bias = (self.parameters[f"{name}.{part}"] for part in ("weight", "bias"))
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))

    def _items(self) -> Any:
        return self.parameters.items()


def _of(log_probs: Tensor, actions: Tensor) -> Tensor:
    return log_probs.gather(-1, actions[..., None]).squeeze(-1)


def _over(each: Tensor, like: Tensor) -> Tensor:
    return each.view(-1, *[1] * (like.dim() - 1))
