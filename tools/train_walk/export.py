# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Exports a training run's checkpoint as a bundle, which `model_tools` makes from the contract."""

from __future__ import annotations

import datetime
import functools
import shutil
import tempfile
from pathlib import Path

import torch

from model_tools.files.arrays import write_arrays
from model_tools.files.contract_text import remove_section, set_section
from model_tools.make.checkpoints.checkpoint_export import ExportRequest
from model_tools.make.checkpoints.checkpoint_export import (
    export as export_checkpoint,
)
from model_tools.make.checkpoints.load import read_checkpoint
from model_tools.make.checkpoints.network_config import ExportConfig
from model_tools.make.complete import Completion
from model_tools.make.complete import make_bundle as make_whole
from model_tools.make.unrecorded import Walk, simulated_walks
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle, file_entry
from policy_core.bundle.verified import sha256_file
from robot_sim.ground import Ground
from tools.train_walk.definition import BUNDLES, Task, TrainedRobot
from tools.train_walk.layout import ACTION_SIZE, COMMAND, Layout
from tools.train_walk.learning import HIDDEN
from tools.train_walk.reference import make_reference

MODEL_FILE, BUNDLE_FOLDER = "policy.onnx", "bundle"
CLIP_FILE = "motion.npz"
"""Files of a finished training run."""
_NEW = {"version": "0.0.0", "description": "Trained, and not accepted yet."}
OPSET = 17
CLIMB = Walk(
    schedule=[(5.0, (0.5, 0.0, 0.0))],
    duration_s=12.0,
    latency_ns=10_000_000,
    ground=Ground(terrain="stairs", step_m=0.1),
)
"""Additional walk on which a policy with a height scan is measured."""
LICENCE = "Apache-2.0"


def find_checkpoint(run: Path) -> Path:
    """Return the last checkpoint in the folder of a training run."""
    return max(run.glob("model_*.pt"), key=lambda file: int(file.stem.partition("_")[2]))


def export(run: Path, layout: Layout = COMMAND) -> None:
    """Write the actor of a run's checkpoint as ONNX, `obs` [1, size] -> `action` [1, 12]."""
    network = ExportConfig(
        obs_dim=layout.obs_size, act_dim=ACTION_SIZE, hidden_sizes=HIDDEN, activation="elu"
    )
    export_checkpoint(
        ExportRequest(
            checkpoint=read_checkpoint(find_checkpoint(run)),
            config=network,
            output=run / MODEL_FILE,
            opset=OPSET,
        )
    )


def make_bundle(robot: TrainedRobot, task: Task, run: Path, *, source: str) -> JointBundle:
    """Create the folder `bundle` in a run's folder, from the run's `policy.onnx` and checkpoint.

    Args:
        robot: The trained robot.
        task: The robot's task.
        run: Folder of the training run.
        source: Origin of the policy, for its provenance.
    """
    model = run / MODEL_FILE
    provenance = {
        "source": source,
        "licence": LICENCE,
        "checkpoint_sha256": sha256_file(find_checkpoint(run)),
        "exporter": f"torch {torch.__version__}, opset {OPSET}",
        "date": datetime.date.today().isoformat(),
    }
    text = (BUNDLES / robot.bundle / CONTRACT_FILE).read_text(encoding="utf-8")
    for name in ("nominal", "reports", "model.golden"):
        text = remove_section(text, name)
    artifact = {
        "file": model.name,
        "sha256": sha256_file(model),
        "precision": "fp32",
        "tool": f"torch {torch.__version__} ONNX exporter, opset {OPSET}",
    }
    text = set_section(text, "model.artifacts.onnx", artifact)
    text = set_section(text, "provenance", provenance)
    for name, value in _NEW.items():
        text = set_section(text, name, value)
    with tempfile.TemporaryDirectory() as private:
        contract = Path(private, "contract")  # with the usual file mode, which the bundle inherits
        contract.mkdir()
        if task.motion:
            clip = contract / CLIP_FILE
            write_arrays(clip, make_reference(robot, task).arrays(robot))
            text = set_section(text, "motion.clip", file_entry(clip, contract))
        for _, term in robot.contract.scenes.values():
            if term.scene is not None:
                shutil.copy(BUNDLES / robot.bundle / term.scene.file, contract)
        (contract / CONTRACT_FILE).write_text(text, encoding="utf-8")
        climb = None if robot.scan is None else CLIMB
        walks = functools.partial(
            simulated_walks, robot=SimulatedRobot(figures=robot.figures), climb=climb
        )
        return make_whole(contract, model, run / BUNDLE_FOLDER, Completion(measure=walks))
