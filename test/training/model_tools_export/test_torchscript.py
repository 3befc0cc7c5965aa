# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TorchScript as Isaac Lab and rsl_rl export it: the state inside becomes inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model_tools.errors import ToolError
from testkit.wording import refusal

from .exporting import Exporter, axes_of, run_fed_back
from .layouts import ACT, CONFIG, LAYERS, OBS, RNN, UNITS, empirical, mlp

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


class GatedMemory(nn.Module):
    """A GRU in one buffer, without normaliser and without a way to reset it."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.rnn = mlp(UNITS, ACT), nn.GRU(OBS, UNITS, LAYERS)
        self.register_buffer("hidden_state", torch.zeros(LAYERS, 1, UNITS))

    def forward(self, obs: Tensor) -> Tensor:
        x, h = self.rnn(obs.unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        return self.actor(x.squeeze(0))


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


@pytest.mark.parametrize(("module", "kind"), [(Memory, "lstm"), (GatedMemory, "gru")])
def test_a_state_inside_comes_out_for_50_steps(
    export: Exporter, module: type[nn.Module], kind: str
) -> None:
    program, obs = module(), torch.randn(50, OBS)
    config = {**CONFIG, "rnn": {"type": kind, **RNN}}
    if kind == "lstm":
        config["normaliser"] = "bake"
    model = export.file(saved(export, program), config, TRUST)
    assert axes_of(model)["h_in"] == [LAYERS, 1, UNITS]
    assert run_fed_back(model, obs.numpy()) == pytest.approx(
        actions(program, obs).numpy(), abs=1e-5
    )


def test_a_state_inside_that_is_not_described_is_found_out(export: Exporter) -> None:
    with refusal(ToolError):
        export.file(saved(export, Memory()), BARE, TRUST)


@pytest.mark.parametrize(
    "change", [{"activation": "tanh"}, {"normaliser": "none"}, {"normaliser_epsilon": 0.5}]
)
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
        if self.does == "clamps what it sees":
            obs = torch.clamp(obs, -20.0, 20.0)
        action = self.actor(obs)
        if self.does == "clamps":
            action = torch.clamp(action, -2.0, 2.0)
        if self.does == "branches" and bool((obs[0, 0] > 20.0).item()):
            action = action * 0.0
        if self.does == "changes" and bool((self.calls > 100).item()):
            action = action + 0.5
        return action


@pytest.mark.parametrize("does", ["clamps what it sees", "clamps", "branches", "changes"])
def test_a_program_that_does_more_than_its_layers_is_refused(export: Exporter, does: str) -> None:
    with refusal(ToolError):
        export.file(saved(export, Odd(does)), {**CONFIG, "ignore": ["calls"]}, TRUST)
