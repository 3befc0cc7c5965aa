# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools export` found and made, as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.policy import CheckpointPolicy
from model_tools.exporting.export import Exported

NORMALISERS = {"bake": "in the model", "none": "left out",
               "keep": "kept beside the model, from where import takes it"}


def show(config: ExportConfig, exported: Exported) -> None:
    """Print the table."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(config, exported):
        table.add_row(name, value)
    # Of any width where nobody looks, so that a log keeps whole lines.
    console = Console()
    Console(width=None if console.is_terminal else 200, markup=False).print(table)


def _lines(config: ExportConfig, exported: Exported) -> list[tuple[str, str]]:
    policy, graph, rnn = exported.policy, exported.model.graph, config.rnn
    return [
        ("format", policy.format),
        ("layers", ", ".join(policy.layers) or "as the program has them"),
        *([("recurrent", f"{rnn.num_layers} x {rnn.type} {rnn.hidden_size}, {rnn.position}")]
          if rnn else []),
        ("activation", config.activation or "as the program has them"),
        ("normaliser", _normaliser(config, policy)),
        ("inputs", ", ".join(map(_tensor, graph.input))),
        ("outputs", ", ".join(map(_tensor, graph.output))),
        ("opset", str(exported.model.opset_import[0].version)),
        *(("difference", f"{name}: {one}") for name, one in exported.differences.items()),
        *(("written", str(path)) for path in exported.written),
    ]  # fmt: skip


def _normaliser(config: ExportConfig, policy: CheckpointPolicy) -> str:
    if policy.statistics is None or config.normaliser is None:
        return "none in the checkpoint"
    return f"{policy.statistics}: {NORMALISERS[config.normaliser]}"


def _tensor(value: Any) -> str:
    axes = [axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim]
    return f"{value.name} [{', '.join(axes)}]"
