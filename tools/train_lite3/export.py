# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a trained agent to a bundle: ONNX, proven to be the same function, under the contract."""

from __future__ import annotations

import datetime
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from model_tools.completion.complete import Completion
from model_tools.completion.complete import make_bundle as make_whole
from model_tools.completion.simulated import simulated
from model_tools.contract_text import remove_section, set_section
from model_tools.files import new_file
from policy_inference.bundle.load import CONTRACT_FILE, Bundle, sha256_of
from policy_inference.errors import PolicyError
from tools.train_lite3.layout import ACTION_SIZE, OBS_SIZE
from tools.train_lite3.ppo import Agent

CONTRACT = Path(__file__).parents[2] / "config" / "bundles" / "lite3_walk" / CONTRACT_FILE
CHECKPOINT_FILE, MODEL_FILE, BUNDLE_FOLDER = "agent.pt", "policy.onnx", "bundle"
"""What a training's folder holds at the end."""
_NEW = {"version": "0.0.0", "description": "Trained, and not accepted yet."}
OPSET, TOLERANCE, COMPARED = 17, 1e-5, 1000
LICENCE = "Apache-2.0"


def save(agent: Agent, path: Path) -> None:
    """Write the weights; a checkpoint that was there is replaced once the new one is whole.

    Raises:
        OSError: It cannot be written.
    """
    with new_file(path, force=True) as growing:
        torch.save(agent.state_dict(), growing)


def export(agent: Agent, path: Path) -> None:
    """Write the actor as ONNX, `obs` [1, 45] -> `actions` [1, 12].

    Raises:
        PolicyError: What was written is not the same function.
    """
    with warnings.catch_warnings():
        # The newer exporter needs more packages and no older opset; a perceptron needs neither.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            agent.actor, (torch.zeros(1, OBS_SIZE),), str(path), opset_version=OPSET,
            input_names=["obs"], output_names=["actions"], dynamo=False,
        )  # fmt: skip
    error = _difference(agent, path)
    if not error <= TOLERANCE:
        raise PolicyError(f"{path}: expected the outputs of the agent within {TOLERANCE}, found a "
                          f"difference of {error:.3g}")


def _difference(agent: Agent, path: Path) -> float:
    """Return the largest |difference| of outputs, on observations wider than any walk's."""
    obs = np.random.default_rng(0).normal(0.0, 2.0, (COMPARED, 1, OBS_SIZE)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = np.stack([session.run(["actions"], {"obs": row})[0] for row in obs])
    with torch.no_grad():
        expected = agent.actor(torch.from_numpy(obs)).numpy()
    return float(np.abs(found.reshape(COMPARED, ACTION_SIZE) - expected[:, 0]).max())


def make_bundle(run: Path, *, source: str) -> Bundle:
    """Make the folder `bundle` in a training's folder, from its `policy.onnx` and `agent.pt`.

    Args:
        run: Folder of the training.
        source: How the policy came about, for its provenance.

    Raises:
        PolicyError: The policy does not walk, or the folder is there already.
    """
    model = run / MODEL_FILE
    provenance = {
        "source": source, "licence": LICENCE, "checkpoint_sha256": sha256_of(run / CHECKPOINT_FILE),
        "exporter": f"torch {torch.__version__}, opset {OPSET}",
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    text = CONTRACT.read_text(encoding="utf-8")
    for name in ("nominal", "reports", "model.golden"):
        text = remove_section(text, name)
    artifact = {"file": model.name, "sha256": sha256_of(model), "precision": "fp32",
                "tool": f"torch {torch.__version__} ONNX exporter, opset {OPSET}"}  # fmt: skip
    text = set_section(text, "model.artifacts.onnx", artifact)
    text = set_section(text, "provenance", provenance)
    for name, value in _NEW.items():
        text = set_section(text, name, value)
    with tempfile.TemporaryDirectory() as private:
        contract = Path(private, "contract")  # of the usual mode, which the bundle inherits
        contract.mkdir()
        (contract / CONTRACT_FILE).write_text(text, encoding="utf-8")
        return make_whole(contract, model, run / BUNDLE_FOLDER, Completion(measure=simulated))
