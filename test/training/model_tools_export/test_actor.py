# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which tensors are the actor's is found by names and sizes, asked for, and never guessed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from model_tools.errors import ToolError
from testkit.wording import refusal

from . import layouts
from .exporting import Exporter, run_fed_back
from .layouts import ACT, CONFIG, HIDDEN, OBS, RNN, Module, mlp


def same_as(export: Exporter, config: dict[str, object], content: object, actor: nn.Module) -> bool:
    obs = torch.randn(5, OBS)
    with torch.no_grad():
        return bool(
            np.allclose(run_fed_back(export(content, config), obs.numpy()), actor(obs), atol=1e-5)
        )


@pytest.mark.parametrize(
    "names",
    [
        ("policy", "target"),
        ("pi", "vf"),
        ("actor_critic.actor", "actor_critic.critic"),
        ("student_net", "teacher_net"),
        ("net", "value_net"),
        ("actor", "net"),
    ],
)
def test_of_two_networks_of_the_same_sizes_the_name_decides(
    export: Exporter, names: tuple[str, str]
) -> None:
    networks = [mlp(OBS, ACT), mlp(OBS, ACT)]
    content = {
        f"{name}.{key}": value
        for name, network in zip(names, networks, strict=True)
        for key, value in network.state_dict().items()
    }
    config = {**CONFIG, "ignore": ["net."] if names[1] == "net" else []}
    assert same_as(export, config, content, networks[0])


def test_more_than_ten_layers_keep_their_order(export: Exporter) -> None:
    actor = mlp(OBS, ACT, (4,) * 12)
    content = Module(actor=actor).state_dict()
    shuffled = {name: content[name] for name in sorted(content)}  # actor.10 before actor.2
    assert same_as(export, {**CONFIG, "hidden_sizes": [4] * 12}, shuffled, actor)


def test_layers_without_bias_are_exported(export: Exporter) -> None:
    actor = nn.Sequential(nn.Linear(OBS, 4, bias=False), nn.ELU(), nn.Linear(4, ACT, bias=False))
    content = Module(actor=actor).state_dict()
    assert same_as(export, {**CONFIG, "hidden_sizes": [4]}, content, actor)


def test_two_candidates_are_listed_and_the_user_decides(export: Exporter) -> None:
    first, second = mlp(OBS, ACT), mlp(OBS, ACT)
    content = Module(walk=first, turn=second).state_dict()
    with refusal(ToolError):
        export(content, CONFIG)
    assert same_as(export, {**CONFIG, "actor": ["turn."]}, content, second)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_sizes": [16, 9]},
        {"obs_dim": 7},
        {"act_dim": 1},  # which the critic fits
        {"rnn": {"type": "gru", **RNN}},
        {"normaliser": "bake"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_of_another_network_is_refused(
    export: Exporter, change: dict[str, object]
) -> None:
    with refusal(ToolError):
        export(layouts.state_dict()[0], {**CONFIG, **change})


@pytest.mark.parametrize(
    "change",
    [{"type": "gru"}, {"num_layers": 1}, {"position": "after_mlp"}],
    ids=lambda change: next(iter(change)),
)
def test_other_recurrent_layers_are_refused(export: Exporter, change: dict[str, object]) -> None:
    config = {**CONFIG, "rnn": {"type": "lstm", **RNN, **change}}
    with refusal(ToolError):
        export(layouts.rsl_rl_recurrent("lstm")[0], config)


def test_recurrent_layers_that_are_not_mentioned_are_shown(export: Exporter) -> None:
    with refusal(ToolError):
        export(layouts.rsl_rl_recurrent("lstm")[0], CONFIG)


def test_layers_that_the_configuration_cannot_describe_are_refused(export: Exporter) -> None:
    actor = mlp(OBS, ACT)
    actor.insert(1, nn.LayerNorm(HIDDEN[0]))
    for ignored in ([], ["actor.1."]):
        with refusal(ToolError):
            export(Module(actor=actor).state_dict(), {**CONFIG, "ignore": ignored})


def test_an_encoder_beside_the_actor_is_refused_until_it_is_said_to_be_of_no_use(
    export: Exporter,
) -> None:
    actor = mlp(OBS, ACT)
    content = Module(actor=actor, encoder=mlp(30, 4)).state_dict()
    with refusal(ToolError):
        export(content, CONFIG)
    assert same_as(export, {**CONFIG, "ignore": ["encoder."]}, content, actor)


def test_statistics_that_are_not_mentioned_are_refused(export: Exporter) -> None:
    with refusal(ToolError):
        export(layouts.rl_games()[0], CONFIG)


def test_statistics_of_another_observation_are_refused(export: Exporter) -> None:
    content = {
        "model_state_dict": layouts.state_dict()[0],
        "obs_norm_state_dict": layouts.empirical(OBS + 1).state_dict(),
    }
    with refusal(ToolError):
        export(content, {**CONFIG, "normaliser": "bake"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["actor.2.weight", "actor.0.bias"])
def test_weights_that_are_not_finite_are_refused_by_name(
    export: Exporter, name: str, value: float
) -> None:
    content, _ = layouts.state_dict()
    content[name][0] = value  # type: ignore[index]
    with refusal(ToolError):
        export(content, CONFIG)


def test_a_divisor_of_zero_is_refused(export: Exporter) -> None:
    content, _ = layouts.rl_games()
    content["model"]["running_mean_std.running_var"][2] = 0.0  # type: ignore[index]
    with refusal(ToolError):
        export(content, {**CONFIG, "normaliser": "bake", "normaliser_epsilon": 0})
