# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which tensors are the actor's is found by names and sizes, asked for, and never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_tools.errors import ToolError
from testkit.wording import refusal

from . import layouts
from .conftest import Exporter, axes_of, run_fed_back
from .layouts import ACT, CONFIG, HIDDEN, LAYERS, OBS, RNN, UNITS, Module, empirical, mlp


def same_as(export: Exporter, config: dict[str, object], content: object, actor: nn.Module) -> bool:
    obs = torch.randn(5, OBS)
    with torch.no_grad():
        return bool(
            np.allclose(run_fed_back(export(content, config), obs.numpy()), actor(obs), atol=1e-5)
        )


@pytest.mark.parametrize(
    "names", [("pi", "vf"), ("student_net", "teacher_net"), ("net", "value_net"), ("actor", "net")]
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


@pytest.mark.parametrize(
    ("name", "value"), [("actor.2.weight", float("nan")), ("actor.0.bias", float("inf"))]
)
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


TRUST = "--trust-code"
BARE = {"obs_dim": OBS, "act_dim": ACT}


class Normaliser(nn.Module):
    """As rsl_rl's EmpiricalNormalization runs once it is exported."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in empirical(OBS).state_dict().items():
            self.register_buffer(name, value)

    def forward(self, obs: Tensor) -> Tensor:
        return (obs - self._mean) / (self._std + 1e-2)


class Perceptron(nn.Module):
    """Names of Isaac Lab's exporter; without state."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.normalizer = mlp(OBS, ACT), Normaliser()

    def forward(self, obs: Tensor) -> Tensor:
        return self.actor(self.normalizer(obs))

    @torch.jit.export
    def reset(self) -> None:
        pass


class Memory(Perceptron):
    """The same with an LSTM whose state is in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp(UNITS, ACT)
        self.rnn = nn.LSTM(OBS, UNITS, LAYERS)
        for name in ("hidden_state", "cell_state"):
            self.register_buffer(name, torch.zeros(LAYERS, 1, UNITS))

    def forward(self, obs: Tensor) -> Tensor:
        x, (h, c) = self.rnn(
            self.normalizer(obs).unsqueeze(0), (self.hidden_state, self.cell_state)
        )
        self.hidden_state[:], self.cell_state[:] = h, c
        return self.actor(x.squeeze(0))

    @torch.jit.export
    def reset(self) -> None:
        self.hidden_state[:], self.cell_state[:] = 0.0, 0.0


def saved(export: Exporter, module: nn.Module) -> Path:
    file = export.folder / "policy.pt"
    torch.jit.script(module).save(str(file))
    return file


def actions(module: nn.Module, obs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([module(row[None]) for row in obs])


@pytest.mark.parametrize("batch", [(), ("--dynamic-batch",)])
def test_a_program_without_state_is_exported_as_it_stands(
    export: Exporter, batch: tuple[str, ...]
) -> None:
    module, obs = Perceptron(), torch.randn(20, OBS)
    model = export.file(saved(export, module), BARE, TRUST, *batch)
    assert run_fed_back(model, obs.numpy()) == pytest.approx(actions(module, obs).numpy(), abs=1e-5)


def test_a_state_inside_comes_out_for_50_steps(export: Exporter) -> None:
    program, obs = Memory(), torch.randn(50, OBS)
    config = {**CONFIG, "rnn": {"type": "lstm", **RNN}, "normaliser": "bake"}
    model = export.file(saved(export, program), config, TRUST)
    assert axes_of(model)["h_in"] == [LAYERS, 1, UNITS]
    assert run_fed_back(model, obs.numpy()) == pytest.approx(
        actions(program, obs).numpy(), abs=1e-5
    )


def test_a_state_inside_that_is_not_described_is_found_out(export: Exporter) -> None:
    with refusal(ToolError):
        export.file(saved(export, Memory()), BARE, TRUST)


@pytest.mark.parametrize("change", [{"activation": "tanh"}, {"normaliser_epsilon": 0.5}])
def test_a_program_that_is_another_function_than_described_is_refused(
    export: Exporter, change: dict[str, object]
) -> None:
    config = {**CONFIG, "normaliser": "bake", **change}
    with refusal(ToolError):
        export.file(saved(export, Perceptron()), config, TRUST)


class Odd(nn.Module):
    """Linear layers, and something beside them that no weights tell of."""

    def __init__(self, does: str) -> None:
        super().__init__()
        self.actor, self.does = mlp(OBS, ACT), does
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, obs: Tensor) -> Tensor:
        self.calls += 1
        if self.does == "clamps":
            obs = torch.clamp(obs, -20.0, 20.0)
        action = self.actor(obs)
        if self.does == "branches" and bool((obs[0, 0] > 20.0).item()):
            action = action * 0.0
        if self.does == "changes" and bool((self.calls > 100).item()):
            action = action + 0.5
        return action


@pytest.mark.parametrize("does", ["clamps", "branches", "changes"])
def test_a_program_that_does_more_than_its_layers_is_refused(export: Exporter, does: str) -> None:
    with refusal(ToolError):
        export.file(saved(export, Odd(does)), {**CONFIG, "ignore": ["calls"]}, TRUST)
