# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Networks whose state dicts have the names that the libraries write; see each for the version.

Each comes with the actions it gives in its library, computed here and not by what is tested.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

OBS, HIDDEN, ACT, UNITS, LAYERS = 6, (16, 8), 3, 5, 2
CONFIG = {"obs_dim": OBS, "act_dim": ACT, "hidden_sizes": list(HIDDEN), "activation": "elu"}
RNN = {"hidden_size": UNITS, "num_layers": LAYERS}
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
Content = dict[str, object]
Actions = Callable[[Tensor], Tensor]
"""From the observations of one run [rows, obs] to its actions [rows, act]."""


def mlp(size: int, out: int, hidden: tuple[int, ...] = HIDDEN) -> nn.Sequential:
    """Return linear layers with ELU between them, the last one bare."""
    parts: list[nn.Module] = []
    for units in hidden:
        parts += [nn.Linear(size, units), nn.ELU()]
        size = units
    return nn.Sequential(*parts, nn.Linear(size, out))


class Module(nn.Module):
    def __init__(self, **parts: nn.Module | Tensor) -> None:
        """Name the parts; tensors become parameters."""
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, Tensor) else part)


def with_buffers(**values: Tensor) -> nn.Module:
    module = nn.Module()
    for name, value in values.items():
        module.register_buffer(name, value)
    return module


def empirical(size: int) -> nn.Module:
    """rsl_rl's EmpiricalNormalization (2.2 to 5.4)."""
    std = torch.rand(1, size) + 0.5
    return with_buffers(_mean=torch.randn(1, size), _var=std**2, _std=std, count=torch.tensor(1000))


def state_dict() -> tuple[Content, Actions]:
    """Actor and critic in one, as rsl_rl's ActorCritic (1.0 to 2.3) names them."""
    model = Module(std=torch.ones(ACT), actor=mlp(OBS, ACT), critic=mlp(OBS, 1))
    return dict(model.state_dict()), model.actor


def wrapped_state_dict() -> tuple[Content, Actions]:
    """The same as many trainings save it."""
    content, actions = state_dict()
    return {"state_dict": content, "epoch": 3}, actions


def rsl_rl_2() -> tuple[Content, Actions]:
    """rsl_rl 2.2 and 2.3: the normalisers beside the model."""
    content, actor = state_dict()
    norm = empirical(OBS)
    whole = {
        "model_state_dict": content,
        "optimizer_state_dict": {"state": {}},
        "iter": 7,
        "infos": None,
        "obs_norm_state_dict": norm.state_dict(),
        "privileged_obs_norm_state_dict": empirical(OBS).state_dict(),
    }
    return whole, lambda obs: actor((obs - norm._mean) / (norm._std + 1e-2))


def rsl_rl_3() -> tuple[Content, Actions]:
    """rsl_rl 3: the normalisers in the model."""
    model = Module(
        log_std=torch.zeros(ACT),
        actor=mlp(OBS, ACT),
        critic=mlp(OBS, 1),
        actor_obs_normalizer=empirical(OBS),
        critic_obs_normalizer=empirical(OBS),
    )
    norm = model.actor_obs_normalizer
    content = {"model_state_dict": model.state_dict(), "iter": 7, "infos": {}}
    return content, lambda obs: model.actor((obs - norm._mean) / (norm._std + 1e-2))


def rsl_rl_5() -> tuple[Content, Actions]:
    """rsl_rl 4 and 5: actor and critic apart."""
    actor = Module(
        obs_normalizer=empirical(OBS),
        mlp=mlp(OBS, ACT),
        distribution=Module(std_param=torch.ones(ACT)),
    )
    critic = Module(obs_normalizer=empirical(9), mlp=mlp(9, 1))
    content = {
        "actor_state_dict": actor.state_dict(),
        "critic_state_dict": critic.state_dict(),
        "optimizer_state_dict": {},
        "iter": 7,
        "infos": None,
    }
    norm = actor.obs_normalizer
    return content, lambda obs: actor.mlp((obs - norm._mean) / (norm._std + 1e-2))


def rsl_rl_student() -> tuple[Content, Actions]:
    """rsl_rl 3, distilled."""
    model = Module(std=torch.ones(ACT), student=mlp(OBS, ACT), teacher=mlp(OBS, ACT))
    return {"model_state_dict": model.state_dict(), "iter": 7, "infos": None}, model.student


def skrl_separate() -> tuple[Content, Actions]:
    """skrl 1.4: policy and value each with its container."""
    policy = Module(log_std_parameter=torch.zeros(ACT), net_container=mlp(OBS, ACT))
    value = Module(net_container=mlp(OBS, 1))
    scaler = scaler_of(OBS)
    content = {
        "policy": policy.state_dict(),
        "value": value.state_dict(),
        "optimizer": {},
        "state_preprocessor": scaler.state_dict(),
        "value_preprocessor": scaler_of(1).state_dict(),
    }
    return content, lambda obs: policy.net_container(skrl_scaled(scaler, obs))


def skrl_shared() -> tuple[Content, Actions]:
    """skrl 2.0: one container, a layer for each; the critic's states scaled too."""
    body = mlp(OBS, HIDDEN[-1], HIDDEN[:-1]).append(nn.ELU())
    model = Module(
        log_std_parameter=torch.zeros(ACT),
        net_container=body,
        policy_layer=nn.Linear(HIDDEN[-1], ACT),
        value_layer=nn.Linear(HIDDEN[-1], 1),
    )
    scaler = scaler_of(OBS)
    content = {
        "policy": model.state_dict(),
        "value": model.state_dict(),
        "optimizer": {},
        "observation_preprocessor": scaler.state_dict(),
        "state_preprocessor": scaler_of(9).state_dict(),
    }
    return content, lambda obs: model.policy_layer(body(skrl_scaled(scaler, obs)))


def scaler_of(size: int) -> nn.Module:
    """skrl's RunningStandardScaler (1.4, 2.0)."""
    values = {
        "running_mean": torch.randn(size),
        "running_variance": torch.rand(size) + 0.5,
        "current_count": torch.tensor(1000.0),
    }
    return with_buffers(**{name: value.double() for name, value in values.items()})


def skrl_scaled(scaler: nn.Module, obs: Tensor) -> Tensor:
    std = torch.sqrt(scaler.running_variance.float()) + 1e-8
    return torch.clamp((obs - scaler.running_mean.float()) / std, -5.0, 5.0)


def rl_games(*, compiled: bool = False) -> tuple[Content, Actions]:
    """rl_games 1.6, continuous actions, shared trunk; a numpy scalar beside it."""
    trunk = mlp(OBS, HIDDEN[-1], HIDDEN[:-1]).append(nn.ELU())
    network = Module(
        sigma=torch.zeros(ACT),
        actor_mlp=trunk,
        value=nn.Linear(HIDDEN[-1], 1),
        mu=nn.Linear(HIDDEN[-1], ACT),
    )
    norm = moments_of(OBS)
    model = Module(a2c_network=network, running_mean_std=norm, value_mean_std=moments_of(1))
    prefix = "_orig_mod." if compiled else ""
    content = {
        "model": {f"{prefix}{name}": value for name, value in model.state_dict().items()},
        "epoch": 50,
        "frame": 4096,
        "optimizer": {},
        "env_state": None,
        "last_mean_rewards": np.float32(12.5),
    }
    return content, lambda obs: network.mu(trunk(rl_games_normalised(norm, obs)))


def moments_of(size: int) -> nn.Module:
    """rl_games' RunningMeanStd (1.6)."""
    return with_buffers(
        running_mean=torch.randn(size).double(),
        count=torch.tensor(1000),
        running_var=torch.rand(size).double() + 0.5,
    )


def rl_games_normalised(norm: nn.Module, obs: Tensor) -> Tensor:
    std = torch.sqrt(norm.running_var.float() + 1e-5)
    return torch.clamp((obs - norm.running_mean.float()) / std, -5.0, 5.0)


def rsl_rl_recurrent(kind: str) -> tuple[Content, Actions]:
    """rsl_rl 1.0 to 3: a memory for each of actor and critic."""
    model = Module(
        std=torch.ones(ACT),
        actor=mlp(UNITS, ACT),
        critic=mlp(UNITS, 1),
        memory_a=Module(rnn=CELLS[kind](OBS, UNITS, LAYERS)),
        memory_c=Module(rnn=CELLS[kind](OBS, UNITS, LAYERS)),
    )
    return (
        {"model_state_dict": model.state_dict(), "iter": 7, "infos": None},
        lambda obs: model.actor(model.memory_a.rnn(obs)[0]),
    )


def rsl_rl_5_recurrent(kind: str) -> tuple[Content, Actions]:
    actor = Module(mlp=mlp(UNITS, ACT), rnn=Module(rnn=CELLS[kind](OBS, UNITS, LAYERS)))
    return (
        {"actor_state_dict": actor.state_dict(), "critic_state_dict": {}, "iter": 7},
        lambda obs: actor.mlp(actor.rnn.rnn(obs)[0]),
    )


def rl_games_recurrent(kind: str) -> tuple[Content, Actions]:
    """rl_games 1.6, separate critic, memory between the hidden layers and the output."""
    trunk = mlp(OBS, HIDDEN[-1], HIDDEN[:-1]).append(nn.ELU())
    memory = Module(rnn=CELLS[kind](HIDDEN[-1], UNITS, LAYERS))
    network = Module(
        sigma=torch.zeros(ACT),
        actor_mlp=trunk,
        critic_mlp=mlp(OBS, HIDDEN[-1], HIDDEN[:-1]),
        a_rnn=memory,
        c_rnn=Module(rnn=CELLS[kind](HIDDEN[-1], UNITS, LAYERS)),
        mu=nn.Linear(UNITS, ACT),
        value=nn.Linear(UNITS, 1),
    )
    content: Content = {"model": Module(a2c_network=network).state_dict()}
    return content, lambda obs: network.mu(memory.rnn(trunk(obs))[0])
