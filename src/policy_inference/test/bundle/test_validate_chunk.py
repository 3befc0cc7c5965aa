# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contradictions between values of a chunk policy's contract that are right by themselves."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from policy_inference.testing.chunk_bundles import write_chunk_bundle

from .editing import MISSING, Contradiction, any_contract, contradiction_id, problems_of

Edit = Callable[[Mapping[str, object]], Path]

GRAPH = "BPU_ACTPolicy_TransformerLayers"
LARGE, SMALL = "BPU_ACTPolicy_VisionEncoder_16x24", "BPU_ACTPolicy_VisionEncoder_12x16"
POLICY, ENCODER = f"graphs.{GRAPH}", f"graphs.{SMALL}"
HASH = "0" * 64
FILE = {"file": "policy.bin", "sha256": HASH, "precision": "int8"}

BODY: list[Contradiction] = [
    (
        {"joints.stiffness": [1.0]},
        "joints.stiffness: expected 3 values (gripper, shoulder_pan, elbow_flex), found 1",
    ),
    (
        {"joints.default_position": [0.8, 0.0, 1.8]},
        "joints.default_position of elbow_flex: expected a value in [-1.7, 1.7] rad, found 1.8",
    ),
    (
        {"stand.position": [2.0, 0.0, 0.0]},
        "stand.position of gripper: expected a value in [-0.2, 1.8] rad, found 2.0",
    ),
    (
        {"damp.damping": {"wrist": 1.0}},
        "damp.damping: expected keys that match one of gripper, shoulder_pan, elbow_flex, found ",
    ),
    (
        {"nominal.target_step": [0.1]},
        "nominal.target_step: expected 3 values (gripper, shoulder_pan, elbow_flex), found 1",
    ),
    (
        {"nominal.observation": {"states": {k: [0.0] * 3 for k in ("mean", "std", "min", "max")}}},
        "nominal.observation: expected nothing for a chunk policy, found states",
    ),
    (
        {"safety.max_tilt_rad": 1.0},
        "safety.max_tilt_rad: expected nothing, "
        "since a chunk policy reads no orientation, found 1.0",
    ),
]

UNITS: list[Contradiction] = [
    (
        {"units.gripper": MISSING},
        "units: expected the unit of gripper, which the checkpoint does not say, "
        "found shoulder_pan, elbow_flex",
    ),
    ({"units.wrist": {"unit": "radians"}}, "units: expected names of joints.names, found 'wrist'"),
    (
        {"units.gripper.low_rad": MISSING},
        "units.gripper: expected two different positions low_rad and high_rad, since range_0_100 "
        "counts between them, found [None, 1.74533]",
    ),
    (
        {"units.gripper.high_rad": -0.17453},
        "units.gripper: expected two different positions low_rad and high_rad, since ",
    ),
    (
        {"units.gripper.sign": -1},
        "units.gripper: expected neither sign nor zero_rad, found one of them; "
        "exchange low_rad and ",
    ),
    ({"units.gripper.zero_rad": 0.1}, "units.gripper: expected neither sign nor zero_rad, found "),
    (
        {"units.elbow_flex.low_rad": -1.0},
        "units.elbow_flex: expected neither low_rad nor high_rad for degrees, found [-1.0, None]",
    ),
]

VECTORS: list[Contradiction] = [
    (
        {"state.joints": ["shoulder_pan", "elbow_flex", "jaw"]},
        "state.joints: expected names of joints.names, found 'jaw'",
    ),
    (
        {"action.joints": ["gripper", "elbow_flex", "gripper"]},
        "action.joints: expected each name once, found 'gripper' 2 times",
    ),
    (
        {"state.normalisation.mean": [0.0, 0.0]},
        "state.normalisation.mean: expected 3 values for mean_std, found 2",
    ),
    (
        {"action.normalisation.std": MISSING},
        "action.normalisation.std: expected 3 values for mean_std, found nothing",
    ),
    (
        {"action.normalisation.min": [0.0, 0.0, 0.0]},
        "action.normalisation.min: expected nothing for mean_std, found [0.0, 0.0, 0.0]",
    ),
    (
        {"action.normalisation": {"mode": "identity", "mean": [0.0] * 3}},
        "action.normalisation.mean: expected nothing for identity, found [0.0, 0.0, 0.0]",
    ),
    (
        {"environment_state.normalisation.max": [3.0] * 5},
        "environment_state.normalisation.max: expected 4 values for min_max, found 5",
    ),
    (
        {"environment_state.normalisation.min": [-1.0, 4.0, -1.0, -1.0]},
        "environment_state.normalisation.min of value 1: expected at most the max 3, found 4.0",
    ),
    (
        {"state.normalisation": {"mode": "min_max", "min": [-90, 0, 0], "max": [90, -5, 100]}},
        "state.normalisation.min of elbow_flex: expected at most the max -5, found 0.0",
    ),
    ({"action.grippers": ["jaw"]}, "action.grippers: expected joints of the action, found 'jaw'"),
    (
        {"action.max_relative_target": [0.1, 0.1]},
        "action.max_relative_target: expected 3 values (shoulder_pan, elbow_flex, gripper), "
        "found 2",
    ),
    (
        {"action.max_relative_target": {"jaw": 0.1}},
        "action.max_relative_target: expected keys that match one of shoulder_pan, elbow_flex, ",
    ),
    (
        {"state.feature": "observation.images.laptop"},
        "feature: expected each name once, found 'observation.images.laptop' 2 times",
    ),
    (
        {"cameras.phone.feature": "observation.images.laptop"},
        "feature: expected each name once, found 'observation.images.laptop' 2 times",
    ),
]

CAMERAS: list[Contradiction] = [
    (
        {"cameras.phone.normalisation.mean": [0.5]},
        "cameras.phone.normalisation.mean: expected 3 values for mean_std, found 1",
    ),
    (
        {"cameras.phone.normalisation": {"mode": "min_max", "min": [0, 0, 1], "max": [1, 1, 0]}},
        "cameras.phone.normalisation.min of blue: expected at most the max 0, found 1.0",
    ),
    (
        {"cameras.phone.encoder": "VisionEncoder"},
        f"cameras.phone.encoder: expected one of the graphs ({LARGE}, {SMALL}, {GRAPH}), found ",
    ),
    (
        {"cameras.phone.encoder": LARGE},
        f"graphs.{LARGE}.inputs.images.shape: expected [1, 3, 12, 16], as the image of phone, "
        "found [1, 3, 16, 24]",
    ),
    (
        {"cameras.phone.height": 10},
        f"{ENCODER}.inputs.images.shape: expected [1, 3, 10, 16], as the image of phone, found "
        "[1, 3, 12, 16]",
    ),
    (
        {f"{ENCODER}.inputs.images.shape": [1, 12, 16, 3]},
        f"{ENCODER}.inputs.images.shape: expected [1, 3, 12, 16], as the image of phone, found ",
    ),
    (
        {f"{ENCODER}.inputs.second": {"shape": [1, 3]}},
        f"{ENCODER}: expected one input and one output, for an encoder, found 2 and 1",
    ),
    (
        {f"{ENCODER}.outputs.second": {"shape": [1, 3]}},
        f"{ENCODER}: expected one input and one output, for an encoder, found 1 and 2",
    ),
    (
        {"cameras.phone.encoder": MISSING},
        f"graphs: expected one graph that is no camera's encoder, found {SMALL}, {GRAPH}",
    ),
    (
        {"cameras": {}, "environment_state": MISSING},
        "cameras: expected a camera, or an environment_state, found neither",
    ),
    (
        {"environment_state.topic": "phone/image_raw"},
        "environment_state.topic: expected a topic of its own, found 'phone/image_raw'",
    ),
    (
        {"environment_state.topic": "phone/image_raw/compressed"},
        "environment_state.topic: expected a topic of its own, found 'phone/image_raw/compressed'",
    ),
    (
        {"environment_state.topic": "joint_states"},
        "environment_state.topic: expected a topic of its own, found 'joint_states'",
    ),
]

TENSORS: list[Contradiction] = [
    ({"chunk.steps": 9}, "chunk.steps: expected at most the 8 steps of a chunk, found 9"),
    (
        {"chunk.size": 10},
        f"{POLICY}.outputs.Actions.shape: expected [1, 10, 3], as a chunk of actions, found ",
    ),
    (
        {
            "action.joints": ["gripper", "elbow_flex"],
            "action.normalisation.mean": [0.0, 0.0],
            "action.normalisation.std": [1.0, 1.0],
        },
        f"{POLICY}.outputs.Actions.shape: expected [1, 8, 2], as a chunk of actions, "
        "found [1, 8, 3]",
    ),
    ({"action.tensor": "actions"}, f"{POLICY}.outputs: expected the output actions, found Actions"),
    ({"state.tensor": "state"}, f"{POLICY}.inputs: expected the input state, found states, "),
    (
        {"state": MISSING},
        f"{POLICY}.inputs.states: expected a camera or a vector that fills it, found nothing",
    ),
    (
        {"environment_state.tensor": "states"},
        f"{POLICY}.inputs: expected each name once, found 'states' 2 times",
    ),
    (
        {"cameras.phone.tensor": "laptop_features"},
        f"{POLICY}.inputs: expected each name once, found 'laptop_features' 2 times",
    ),
    (
        {f"{POLICY}.inputs.states.shape": [1, 4]},
        f"{POLICY}.inputs.states.shape: expected [1, 3], as what fills it, found [1, 4]",
    ),
    (
        {f"{POLICY}.inputs.environment.shape": [4]},
        f"{POLICY}.inputs.environment.shape: expected [1, 4], as what fills it, found [4]",
    ),
    (
        {f"{POLICY}.inputs.phone_features.shape": [1, 2, 4, 4]},
        f"{POLICY}.inputs.phone_features.shape: expected [1, 2, 3, 4], as what fills it, found ",
    ),
    (
        {f"{POLICY}.inputs.states.dtype": "int32"},
        f"{POLICY}.states.dtype: expected float32 or float16, found 'int32'",
    ),
    (
        {f"{POLICY}.inputs.states.dtype": "uint8"},
        f"{POLICY}.states.dtype: expected float32 or float16, found 'uint8'; uint8 is for ",
    ),
    (
        {f"{ENCODER}.outputs.Vision_Features.dtype": "int64"},
        f"{ENCODER}.Vision_Features.dtype: expected float32 or float16, found 'int64'",
    ),
    (
        {
            "graphs.second": {
                "inputs": {"x": {"shape": [1, 1]}},
                "outputs": {"y": {"shape": [1, 1]}},
                "artifacts": {"onnx": {**FILE, "file": "second.onnx"}},
            }
        },
        f"graphs: expected one graph that is no camera's encoder, found {GRAPH}, second",
    ),
    ({POLICY: MISSING}, "graphs: expected one graph that is no camera's encoder, found nothing"),
]

FILES: list[Contradiction] = [
    (
        {f"{ENCODER}.artifacts.onnx.file": "../policy.onnx"},
        f"{ENCODER}.artifacts.onnx.file: expected a path inside the bundle folder, with / between ",
    ),
    (
        {f"{POLICY}.artifacts.onnx.file": "/policy.onnx"},
        f"{POLICY}.artifacts.onnx.file: expected a path inside the bundle folder, with / between ",
    ),
    (
        {"golden.file": "../golden.npz"},
        "golden.file: expected a path inside the bundle folder, with / between its parts, found ",
    ),
    (
        {"reports.onnx": {"file": "/tmp/a.json", "sha256": HASH}},
        "reports.onnx.file: expected a path inside the bundle folder, with / between its parts, ",
    ),
    (
        {"reports.rknn": {"file": "reports/a.json", "sha256": HASH}},
        "reports.rknn: expected one of the artifacts (onnx), found 'rknn'",
    ),
    (
        {f"{ENCODER}.artifacts.bpu": FILE},
        f"{ENCODER}.artifacts: expected the same back ends as the other graphs (onnx), found onnx, "
        "bpu",
    ),
    (
        {f"{POLICY}.artifacts": {"bpu": FILE}},
        f"{POLICY}.artifacts: expected the same back ends as the other graphs (onnx), found bpu",
    ),
    (
        {
            f"graphs.{name}.artifacts.bpu": {**FILE, "target": target}
            for name, target in ((LARGE, "nash-e"), (SMALL, "nash-e"), (GRAPH, "bayes-e"))
        },
        f"{POLICY}.artifacts.bpu.target: expected nash-e, as of the other graphs, found 'bayes-e'",
    ),
]


@pytest.mark.parametrize("case", [*BODY, *UNITS, *VECTORS], ids=contradiction_id)
def test_value_that_does_not_fit_the_joints_rejected(edit_chunk: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit_chunk(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", [*CAMERAS, *TENSORS], ids=contradiction_id)
def test_camera_or_tensor_that_does_not_fit_rejected(edit_chunk: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit_chunk(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", FILES, ids=contradiction_id)
def test_file_that_does_not_fit_rejected(edit_chunk: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit_chunk(edits)) if p.startswith(message)]


@pytest.mark.parametrize("name", ["wrist.left", "wrist-left", "wrist left", "2nd", "a/b", ""])
def test_camera_whose_name_no_topic_can_have_rejected(edit_chunk: Edit, name: str) -> None:
    file = edit_chunk({})
    contract = yaml.safe_load(file.read_text("utf-8"))
    contract["cameras"][name] = contract["cameras"].pop("phone")
    file.write_text(yaml.safe_dump(contract), "utf-8")

    assert problems_of(file) == [
        f"cameras.{name}: expected a name that a topic can have, letters, "
        f"digits and _, found {name!r}"
    ]


def test_contradictions_of_all_parts_are_reported_at_once(edit_chunk: Edit) -> None:
    file = edit_chunk(
        {
            "joints.stiffness": [1.0],
            "units.gripper": MISSING,
            "chunk.steps": 9,
            "state.normalisation.mean": [0.0],
            "cameras.phone.width": 20,
            "action.tensor": "actions",
            "golden.file": "../golden.npz",
        }
    )

    keys = {problem.partition(":")[0] for problem in problems_of(file)}
    assert keys >= {
        "joints.stiffness",
        "units",
        "chunk.steps",
        "state.normalisation.mean",
        f"{ENCODER}.inputs.images.shape",
        f"{POLICY}.outputs",
        "golden.file",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": {"top": (8, 8), "left_wrist": (8, 8), "right_wrist": (12, 16)}},
        {"sizes": {"top": (8, 8), "left_wrist": (8, 8)}, "alike": True},
        {"encoders": False},
        {"sizes": {}, "environment": 6},
        {"chunk.steps": 8},
        {"action.max_relative_target": {"gripper": 0.5, ".*": 0.1}},
        {"action.normalisation": {"mode": "identity"}},
        {
            "state.normalisation": {
                "mode": "min_max",
                "min": [-90.0, 0.0, 0.0],
                "max": [90.0, 0.0, 100.0],
            }
        },
    ],
)
def test_other_layouts_are_accepted(tmp_path: Path, changes: dict[str, object]) -> None:
    file = write_chunk_bundle(tmp_path / "arm", **changes) / "policy.yaml"  # type: ignore[arg-type]

    assert any_contract(file).kind == "chunk"


def test_a_range_may_be_reversed(edit_chunk: Edit) -> None:
    any_contract(edit_chunk({"units.gripper.low_rad": 1.7, "units.gripper.high_rad": -0.1}))
