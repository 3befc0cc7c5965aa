# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools export` found and made, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.policy import CheckpointPolicy
from model_tools.exporting.export import Exported
from policy_inference.bundle.load import sha256_of

NORMALISERS = {"bake": "in the model", "keep": "kept beside the model", "none": "left out"}
CONTRACT_STD_FLOOR = 1e-3
"""Smaller divisors are raised to this, unless the contract names another bound."""


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
        *_contract(policy, exported.written),
    ]  # fmt: skip


def _normaliser(config: ExportConfig, policy: CheckpointPolicy) -> str:
    if policy.statistics is None or config.normaliser is None:
        return "none in the checkpoint"
    return f"{policy.statistics}: {NORMALISERS[config.normaliser]}"


def _contract(policy: CheckpointPolicy, written: Sequence[Path]) -> list[tuple[str, str]]:
    """Return what policy.yaml has to say of statistics that are kept."""
    if policy.statistics is None or not policy.normalised_outside:
        return []
    stats, smallest = written[-1], float(policy.statistics.divisor.min())
    floor = "" if smallest >= CONTRACT_STD_FLOOR else f", std_floor: {smallest / 2:.1g}"
    return [("policy.yaml", "observations.obs.normalisation: "
             f"{{file: {stats.name}, sha256: {sha256_of(stats)}{floor}}}")]  # fmt: skip


def _tensor(value: Any) -> str:
    axes = [axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim]
    return f"{value.name} [{', '.join(axes)}]"
