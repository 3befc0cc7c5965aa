# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Copies a policy set so that one member's model returns NaN for fast walking commands."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import yaml

from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.terms import term_names
from robot_sim.errors import SimError

FORWARD_MPS, FAILS_ABOVE_MPS = 0.5, 0.9
"""Forward speed of the member's walk, and the speed above which its model returns NaN. The golden
rows stay below that speed.
"""


def failing_set(bundle: SetBundle, name: str, folder: Path) -> SetBundle:
    """Return a copy of a set in which one member fails.

    Args:
        bundle: The set.
        name: Name of the failing member: a joint policy with one ONNX model that observes the
            command.
        folder: Folder for the copies of the set and of its members.
    """
    made = folder / "set"
    shutil.copytree(bundle.path, made)
    stated = yaml.safe_load((made / SET_FILE).read_text("utf-8"))
    for key, member in bundle.members.items():
        place = folder / key
        shutil.copytree(member.path, place)
        if key == name:
            _make_failing(member, place)
        sha256 = hashlib.sha256((place / CONTRACT_FILE).read_bytes()).hexdigest()
        stated["members"][key] |= {"bundle": f"../{key}", "sha256": sha256}
    (made / SET_FILE).write_text(yaml.safe_dump(stated, sort_keys=False), "utf-8")
    return load_bundle(made, kind=SetBundle)


def _make_failing(member: Any, folder: Path) -> None:
    """Make the copied member fail by changing its model and contract."""
    file = folder / member.entry("onnx").file
    _answer_nan(file, _forward_place(member), member.contract.action.output)
    stated = yaml.safe_load((folder / CONTRACT_FILE).read_text("utf-8"))
    artifact = stated["model"]["artifacts"]["onnx"]
    artifact["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    # otherwise no command would exceed those in the golden rows
    stated["velocity_command"]["max"][0] = 2.0 * FAILS_ABOVE_MPS
    (folder / CONTRACT_FILE).write_text(yaml.safe_dump(stated, sort_keys=False), "utf-8")


def _forward_place(member: JointBundle) -> tuple[str, int]:
    """Return the model input that contains the forward command (m/s), and the command's index."""
    for name, observation in member.contract.observations.items():
        place = 0
        for term in observation.terms:
            if term.term == "velocity_command":
                return name, place
            place += len(term_names(term, member.contract))
    raise SimError(
        f"{member.path}: expected a policy that observes the velocity command, found "
        "one that does not"
    )


def _answer_nan(file: Path, place: tuple[str, int], output: str) -> None:
    """Make a model return NaN if the input at `place` exceeds FAILS_ABOVE_MPS."""
    try:
        import onnx
    except ImportError as error:
        raise SimError("onnx: expected the package, found none; run `pip install onnx`") from error
    from onnx import TensorProto, helper

    model = onnx.load(file)
    graph = model.graph
    name, index = place
    for node in graph.node:
        node.output[:] = ["answer" if each == output else each for each in node.output]
    constants = {
        "forward_place": helper.make_tensor("forward_place", TensorProto.INT64, [1], [index]),
        "bound": helper.make_tensor("bound", TensorProto.FLOAT, [], [FAILS_ABOVE_MPS]),
        "nothing": helper.make_tensor("nothing", TensorProto.FLOAT, [], [float("nan")]),
    }
    graph.initializer.extend(constants.values())
    graph.node.extend(
        [
            helper.make_node("Gather", [name, "forward_place"], ["forward"], axis=1),
            helper.make_node("Greater", ["forward", "bound"], ["fails"]),
            helper.make_node("Where", ["fails", "nothing", "answer"], [output]),
        ]
    )
    onnx.save(model, file)
