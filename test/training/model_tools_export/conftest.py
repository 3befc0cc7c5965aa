# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The export as a test calls it, and the model that it writes as a function."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from model_tools.commands import export as export_command
from policy_core.interfaces import F32
from policy_store.command_line import show_result


@dataclass(frozen=True)
class Exporter:
    """Writes checkpoints and exports them, all in one folder."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "policy.onnx"

    def __call__(self, content: object, config: Mapping[str, object], *arguments: str) -> Path:
        """Save, export with the configuration, and return the model's file."""
        checkpoint = self.folder / "checkpoint.pt"
        torch.save(content, checkpoint)
        return self.file(checkpoint, config, *arguments)

    def file(self, checkpoint: Path, config: Mapping[str, object], *arguments: str) -> Path:
        """Export a checkpoint that is there."""
        cfg = self.folder / "cfg.yaml"
        cfg.write_text(yaml.safe_dump(dict(config)))
        parser = argparse.ArgumentParser()
        export_command.add_arguments(parser)
        given = [str(checkpoint), "--config", str(cfg), "--output", str(self.output), *arguments]
        result = export_command.run(parser.parse_args(given))
        show_result(result, as_json=False)
        assert result.status == 0
        return self.output


def run_fed_back(model: Path, rows: F32) -> F32:
    """Return the actions [rows, act] of one run, with the state fed back."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names, *state_names = [given.name for given in session.get_inputs()]
    outputs = [name.replace("_in", "_out") for name in state_names]
    state = {given.name: np.zeros(given.shape, np.float32) for given in session.get_inputs()[1:]}
    actions = []
    for row in rows:
        action, *new = session.run(["action", *outputs], {names: row[None], **state})
        state = dict(zip(state_names, new, strict=True))
        actions.append(action[0])
    return np.stack(actions)


def axes_of(model: Path) -> dict[str, list[int | str]]:
    """Return the axes of inputs and outputs."""
    graph = onnx.load(model).graph
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.fixture
def export(tmp_path: Path) -> Exporter:
    """Return the command, working in a folder of its own."""
    torch.manual_seed(0)
    return Exporter(tmp_path)
