# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The user's description of a checkpoint: the YAML of `model_tools export --config`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_tools.errors import ToolError
from policy_core.bundle.schema import Reader, entry, load_yaml

Activation = Literal[
    "elu",
    "gelu",
    "identity",
    "leaky_relu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]
Normaliser = Literal["bake", "keep", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """The recurrent layers of a policy."""

    type: Literal["lstm", "gru"] = entry("type of recurrent cell")
    hidden_size: int = entry("units per layer", minimum=1)
    num_layers: int = entry("number of stacked layers", default=1, minimum=1)
    position: Literal["before_mlp", "after_mlp"] = entry(
        "before the hidden layers (rsl_rl), or between the hidden layers and the output layer "
        "(rl_games)",
        default="before_mlp",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Description of the network whose weights a checkpoint holds."""

    obs_dim: int = entry("size of the observation", minimum=1)
    act_dim: int = entry("size of the action", minimum=1)
    hidden_sizes: tuple[int, ...] | None = entry(
        "units per hidden layer; omit only for a TorchScript program that is exported unchanged",
        default=None,
        minimum=1,
    )
    activation: Activation | None = entry(
        "activation function after each hidden layer", default=None
    )
    output_activation: Activation = entry(
        "activation function after the output layer", default="identity"
    )
    rnn: Recurrent | None = entry("recurrent layers", default=None)
    normaliser: Normaliser | None = entry(
        "what to do with the checkpoint's running statistics: bake (into the model), keep (in "
        "obs_stats.npz beside the model) or none (omit); required if there are any",
        default=None,
    )
    normaliser_epsilon: float | None = entry(
        "epsilon added to the divisor in training, if not the library's default",
        default=None,
        minimum=0,
    )
    normaliser_clip: float | None = entry(
        "maximum absolute value of normalized observations, if not the library's default",
        default=None,
        exclusiveMinimum=0,
    )
    actor: tuple[str, ...] = entry(
        "prefixes of the actor's tensors, if names and sizes are ambiguous",
        default=(),
    )
    ignore: tuple[str, ...] = entry("prefixes of tensors that the actor does not use", default=())


def read_config(path: Path) -> ExportConfig:
    """Read and check a configuration file (YAML)."""
    reader = Reader(str(path))
    config = reader.section(ExportConfig, load_yaml(path))
    if reader.problems:
        raise ToolError(*map(str, reader.problems))
    return config  # type: ignore[no-any-return]  # the reader found no problems
