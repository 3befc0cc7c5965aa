# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contradictions between values that are right by themselves are refused at the key to correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from policy_core.bundle.body import AnyContract
from testkit.chunk_bundles import write_chunk_bundle
from testkit.edits import MISSING, Edits

from .editing import any_contract, check_refused, edits_name, problem_key, refused_problems

ParseEdited = Callable[[str, Edits], AnyContract]
Case = Edits | tuple[str, Edits]
"""Edits of the contract; where the problem is not at the first of them, its key before them."""

HASH = "0" * 64
TERMS, OBS = "observations.obs.terms", "model.inputs.obs"
RECURRENT: Edits = {
    "state": [{"input": "h_in", "output": "h_out"}],
    "model.inputs.h_in": {"shape": [1, 4]},
    "model.outputs.h_out": {"shape": [1, 4]},
}
STATISTICS = {"mean": [0.0] * 12, "std": [1.0] * 12, "min": [-1.0] * 12, "max": [1.0] * 12}
STANDING = {"term": "phase", "period_s": 0.8, "standing": {"below": 0.1}}
SCAN = {"term": "external", "topic": "scan/near", "size": 2}
LAST_OUTPUT = {"term": "last_output"}
ESTIMATED = {"term": "base_lin_vel", "source": "estimator"}
LEG = {
    "name": "left",
    "chain": [{"joint": "left_knee", "position_m": [0.0, 0.1, 0.0]}],
    "points": [{"position_m": [0.0, 0.0, -0.3]}],
}
ESTIMATION = {"error_mps": 0.05, "legs": [LEG, {**LEG, "name": "right"}]}


def healthy(**changes: object) -> Edits:
    return {"nominal.observation": {"obs": STATISTICS | changes}}


def estimated(term: object = ESTIMATED, **changes: object) -> Edits:
    return {f"{TERMS}.0": term, "estimation": ESTIMATION | changes}


def second_leg(**changes: object) -> Edits:
    return estimated(legs=[LEG, {**LEG, "name": "right", **changes}])


def gains(tensor: Edits | None = None, **changes: object) -> Edits:
    stiffness = {"output": "kp", "min": 0.0, "max": 50.0} | changes
    return {"action.gains.stiffness": stiffness, "model.outputs.kp": tensor or {"shape": [1, 2]}}


def stand_via(*positions: object) -> Edits:
    return {"stand.via": [{"position": each, "duration_s": 1.0} for each in positions]}


def recurrent_edits(**changes: object) -> Edits:
    return {**RECURRENT, **{key.replace("__", "."): value for key, value in changes.items()}}


JOINT: list[Case] = [
    # Values of joints
    ("joints.names", {"joints.names": ["left_knee", "right_knee", "right_knee"]}),
    {"joints.velocity_limit": {"left_knee": 1.0}},
    {"joints.damping": {".*": 1.0, ".*_knee": 2.0}},
    {"joints.damping": {"left_(": 1.0}},
    {"joints.damping": {".*": 3.0, "left_knee": 1.0, "right_knee": 2.0}},
    ("joints.position_min of left_knee", {"joints.position_min": [1.5, -1.0]}),
    ("joints.default_position of right_knee", {"joints.default_position": [0.5, 1.1]}),
    ("stand.position of left_knee", {"stand.position": {"left_knee": -1.5, "right_knee": 0.0}}),
    ("stand.via[1].position", stand_via(0.0, {".*_hip": 0.0})),
    ("stand.via[0].position of right_knee", stand_via([0.0, 1.2])),
    ("stand.stiffness of left_knee", {"stand.stiffness": 0.0}),
    ("stand.damping of right_knee", {"stand.stiffness": [60.0, 0.0], "stand.damping": [2.0, 0.0]}),
    {"joints.robot_names": {"hip": "hip_joint"}},
    ("joints.robot_names of left_knee", {"joints.robot_names": {"left_knee": ""}}),
    # Action and command
    {"action.terms.1.joints": ["hip"]},
    ("action.terms", {"action.terms.1.joints": ["left_knee"]}),
    {"action.terms.1.joints": ["right_.*", "right_knee"]},
    {"action.terms.0.scale": [0.1, 0.2]},
    {"action.terms.0.clip": [4.0, -4.0]},
    {"action.terms.1.offset": "default_position"},
    ("velocity_command", {"velocity_command.min": [-1.0, 0.1, -0.5]}),
    ("velocity_command", {"velocity_command.max": [-0.5, 0.0, 0.5]}),
    ("velocity_command", {"velocity_command": MISSING, TERMS: [{"term": "velocity_command"}] * 4}),
    ("velocity_command", {f"{TERMS}.4": STANDING, "velocity_command": MISSING}),
    # A healthy run
    ("nominal.observation.scan", {"nominal.observation": {"scan": STATISTICS}}),
    ("nominal.observation.obs.std", healthy(std=[1.0] * 13)),
    ("nominal.observation.obs.std[11]", healthy(std=[1.0] * 11 + [-1.0])),
    ("nominal.observation.obs.min[11]", healthy(max=[1.0] * 11 + [-2.0])),
    # Files
    ("reports.rknn", {"reports.rknn": {"file": "report.json", "sha256": HASH}}),
    # Terms of the observation
    (f"{TERMS}[0].parts", {f"{TERMS}.0": {"term": "velocity_command", "parts": ["wz", "vw"]}}),
    {f"{TERMS}.4.parts": ["sin", "sin"]},
    {f"{TERMS}.0.offsets": [0.0]},
    (f"{TERMS}[3].output", {f"{TERMS}.3": LAST_OUTPUT}),
    (f"{TERMS}[3].output", {f"{TERMS}.3": {**LAST_OUTPUT, "output": "actions"}}),
    (f"{TERMS}[3].output", {f"{TERMS}.3": {**LAST_OUTPUT, "output": "speed"}}),
    {f"{TERMS}.3.term": "lastaction"},
    {f"{TERMS}.1.joints": ["left_knee", "left_knee"]},
    {f"{TERMS}.3.joints": ["left_knee"]},
    {f"{TERMS}.0.topic": "imu_2"},
    {f"{TERMS}.4.period_s": MISSING},
    {f"{TERMS}.5.topic": MISSING},
    {f"{TERMS}.5.topic": "joint_states"},
    (
        f"{TERMS}[5].size",
        {
            f"{TERMS}.4": SCAN,
            f"{TERMS}.5.size": 3,
            f"{OBS}.shape": [1, 13],
            "observations.obs.normalisation": None,
        },
    ),
    {f"{TERMS}.1.scale": [1.0, 2.0, 3.0]},
    {f"{TERMS}.0.scale": [1.0]},
    {f"{TERMS}.0.clip": [1.0, -1.0]},
    {f"{TERMS}.0.history_length": 1},
    (TERMS, {f"{TERMS}.5.size": 3}),
    (TERMS, {"observations.obs.history.length": 10_000}),
    # A velocity that is estimated
    ("estimation", {f"{TERMS}.0": ESTIMATED}),
    ("estimation", estimated({"term": "base_ang_vel"})),
    ("estimation", estimated({"term": "base_lin_vel"})),
    {f"{TERMS}.0.source": "estimator"},
    (f"{TERMS}[5]", {**estimated(), f"{TERMS}.5": {"term": "base_lin_vel", "parts": ["x", "y"]}}),
    (f"{TERMS}[5]", {**estimated(), f"{TERMS}.5": {"term": "base_pos", "parts": ["x", "z"]}}),
    ("estimation.legs", second_leg(name="left")),
    ("estimation.legs[1].chain", second_leg(chain=[{"position_m": [0.0, 0.1, 0.0]}])),
    (
        "estimation.legs[1].chain[0].joint",
        second_leg(chain=[{"joint": "hip", "position_m": [0.0, 0.1, 0.0]}]),
    ),
    (
        "estimation.legs[1].chain[0].axis",
        second_leg(
            chain=[{"joint": "left_knee", "position_m": [0.0, 0.1, 0.0], "axis": [0.0, 0.0, 0.0]}]
        ),
    ),
    # Gains that the model puts out
    ("action.gains.stiffness of right_knee", gains(min=2.0, max=[3.0, 1.0])),
    ("action.gains.stiffness.max", gains(max=[3.0])),
    ("action.gains.stiffness.output", gains({"shape": [1, 3]})),
    ("action.gains.stiffness.output", gains({"shape": [1, 2], "dtype": "int32"})),
    ("model.outputs", {"action.gains.damping": {"output": "kd", "min": 0, "max": 1}}),
    ("action.gains", gains(output="actions")),
    # Tensors of the model
    {"model.inputs.extra": {"shape": [1, 2]}},
    ("model.inputs", {"observations.camera": {"terms": [{"term": "tick"}]}}),
    ("model.inputs", {"state": [{"input": "h_in", "output": "actions"}]}),
    ("model.outputs", {"action.output": "act"}),
    (f"{TERMS}[0]", {f"{OBS}.dtype": "int64"}),
    ("action.terms", {"model.outputs.actions.shape": [1, 3]}),
    ("action.terms", {"action.terms.1": MISSING, f"{TERMS}.5.size": 3}),
    # Recurrent states
    ("state[0]", recurrent_edits(model__outputs__h_out={"shape": [1, 5]})),
    ("state[0]", recurrent_edits(model__outputs__h_out={"shape": [1, 4], "dtype": "float16"})),
    ("model.inputs", recurrent_edits(model__inputs={"obs": {"shape": [1, 12]}})),
    ("state", recurrent_edits(state=[*({"input": "h_in", "output": "h_out"},) * 2])),
    (
        "state",
        recurrent_edits(
            state=[{"input": "h_in", "output": "h_out"}, {"input": "obs", "output": "obs_out"}],
            model__outputs__obs_out={"shape": [1, 12]},
        ),
    ),
]

GRAPH = "BPU_ACTPolicy_TransformerLayers"
LARGE, SMALL = "BPU_ACTPolicy_VisionEncoder_16x24", "BPU_ACTPolicy_VisionEncoder_12x16"
POLICY, ENCODER = f"graphs.{GRAPH}", f"graphs.{SMALL}"
MODEL = {"file": "policy.bin", "sha256": HASH, "precision": "int8"}
CAMERA = {
    "feature": "observation.images.wrist",
    "height": 12,
    "width": 16,
    "normalisation": {"mode": "identity"},
    "tensor": "wrist",
}
CHUNK: list[Case] = [
    # Body
    ("joints.default_position of elbow_flex", {"joints.default_position": [0.8, 0.0, 1.8]}),
    ("stand.position of gripper", {"stand.position": [2.0, 0.0, 0.0]}),
    {"nominal.target_step": [0.1]},
    {"nominal.observation": {"states": {k: [0.0] * 3 for k in ("mean", "std", "min", "max")}}},
    {"safety.max_tilt_rad": 1.0},
    # Units
    ("units", {"units.gripper": MISSING}),
    ("units", {"units.wrist": {"unit": "radians"}}),
    ("units.gripper", {"units.gripper.low_rad": MISSING}),
    ("units.gripper", {"units.gripper.high_rad": -0.17453}),
    ("units.gripper", {"units.gripper.sign": -1}),
    ("units.elbow_flex", {"units.elbow_flex.low_rad": -1.0}),
    # State and action
    {"action.joints": ["gripper", "elbow_flex", "gripper"]},
    {"state.normalisation.mean": [0.0, 0.0]},
    {"action.normalisation.std": MISSING},
    (
        "state.normalisation.min of elbow_flex",
        {"state.normalisation": {"mode": "min_max", "min": [-90, 0, 0], "max": [90, -5, 100]}},
    ),
    {"action.grippers": ["jaw"]},
    {"action.max_relative_target": {"jaw": 0.1}},
    ("feature", {"state.feature": "observation.images.laptop"}),
    # Cameras
    {"cameras.phone.encoder": "VisionEncoder"},
    (f"graphs.{LARGE}.inputs.images.shape", {"cameras.phone.encoder": LARGE}),
    (f"{ENCODER}.inputs.images.shape", {"cameras.phone.height": 10}),
    {f"{ENCODER}.inputs.images.shape": [1, 12, 16, 3]},
    (ENCODER, {f"{ENCODER}.inputs.second": {"shape": [1, 3]}}),
    ("graphs", {"cameras.phone.encoder": MISSING}),
    ("cameras", {"cameras": {}, "environment_state": MISSING}),
    *(
        {"environment_state.topic": topic}
        for topic in ("phone/image_raw", "phone/image_raw/compressed", "joint_states")
    ),
    *(
        (f"cameras.{name}", {"cameras": {name: CAMERA}})
        for name in ("wrist.left", "wrist-left", "wrist left", "2nd", "a/b", "")
    ),
    # Tensors
    {"chunk.steps": 9},
    (f"{POLICY}.outputs.Actions.shape", {"chunk.size": 10}),
    (f"{POLICY}.outputs", {"action.tensor": "actions"}),
    (f"{POLICY}.inputs", {"state.tensor": "state"}),
    (f"{POLICY}.inputs.states", {"state": MISSING}),
    (f"{POLICY}.inputs", {"environment_state.tensor": "states"}),
    (f"{POLICY}.inputs", {"cameras.phone.tensor": "laptop_features"}),
    {f"{POLICY}.inputs.states.shape": [1, 4]},
    {f"{POLICY}.inputs.phone_features.shape": [1, 2, 4, 4]},
    (f"{POLICY}.states.dtype", {f"{POLICY}.inputs.states.dtype": "int32"}),
    ("graphs", {POLICY: MISSING}),
    # Files
    {f"{ENCODER}.artifacts.onnx.file": "../policy.onnx"},
    ("reports.onnx.file", {"reports.onnx": {"file": "/tmp/a.json", "sha256": HASH}}),
    {"reports.rknn": {"file": "reports/a.json", "sha256": HASH}},
    (f"{ENCODER}.artifacts", {f"{ENCODER}.artifacts.bpu": MODEL}),
    {f"{POLICY}.artifacts": {"bpu": MODEL}},
    (
        f"{POLICY}.artifacts.bpu.target",
        {
            f"graphs.{name}.artifacts.bpu": {**MODEL, "target": target}
            for name, target in ((LARGE, "nash-e"), (SMALL, "nash-e"), (GRAPH, "bayes-e"))
        },
    ),
]


def contradictions() -> Iterator[object]:
    for kind, cases in (("joint", JOINT), ("chunk", CHUNK)):
        for case in cases:
            edits = case if isinstance(case, Mapping) else case[1]
            key = problem_key(next(iter(case))) if isinstance(case, Mapping) else case[0]
            yield pytest.param(kind, key, edits, id=f"{kind}: {key}: {edits_name(edits)}"[:120])


@pytest.mark.parametrize(("kind", "key", "edits"), list(contradictions()))
def test_a_contradiction_is_refused_at_its_key(
    parse_edited: ParseEdited, kind: str, key: str, edits: Edits
) -> None:
    check_refused(lambda: parse_edited(kind, edits), key)


FILES = ["model.artifacts.onnx", "model.golden", "observations.obs.normalisation", "reports.onnx"]
OUTSIDE = (
    *("/policy.onnx", "../policy.onnx", "models/../../policy.onnx", "//server/policy.onnx"),
    *("C:/policy.onnx", "C:policy.onnx", "models\\policy.onnx", ".", ""),
)


RESERVED = ("policy.yaml", "models/set.yaml", "model_version.json", "policy.yaml.sig", "x.sig")


@pytest.mark.parametrize("path", OUTSIDE + RESERVED)
@pytest.mark.parametrize("key", FILES)
def test_path_that_leaves_the_bundle_or_belongs_to_the_store_is_refused(
    parse_edited: ParseEdited, key: str, path: str
) -> None:
    edits = {f"{key}.sha256": HASH, f"{key}.file": path}
    (problem,) = refused_problems(lambda: parse_edited("joint", edits))
    assert (problem.key, problem.found) == (f"{key}.file", repr(path))


SEVERAL: Mapping[str, tuple[Edits, set[str]]] = {
    "joint": (
        {
            "joints.stiffness": [1.0],
            f"{TERMS}.3.term": "lastaction",
            "action.output": "act",
            "model.golden.file": "/golden.npz",
        },
        {"joints.stiffness", f"{TERMS}[3].term", "model.outputs", "model.golden.file"},
    ),
    "chunk": (
        {
            "joints.stiffness": [1.0],
            "units.gripper": MISSING,
            "chunk.steps": 9,
            "state.normalisation.mean": [0.0],
            "cameras.phone.width": 20,
            "action.tensor": "actions",
            "golden.file": "../golden.npz",
        },
        {
            *("joints.stiffness", "units", "chunk.steps", "state.normalisation.mean"),
            *(f"{ENCODER}.inputs.images.shape", f"{POLICY}.outputs", "golden.file"),
        },
    ),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_contradictions_of_all_parts_are_reported_at_once(
    parse_edited: ParseEdited, kind: str
) -> None:
    edits, keys = SEVERAL[kind]
    problems = refused_problems(lambda: parse_edited(kind, edits))
    assert {problem.key for problem in problems} >= keys


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
        {"units.gripper.low_rad": 1.7, "units.gripper.high_rad": -0.1},
        {
            "state.normalisation": {
                "mode": "min_max",
                "min": [-90.0, 0.0, 0.0],
                "max": [90.0, 0.0, 100.0],
            }
        },
    ],
    ids=edits_name,
)
def test_other_layouts_of_chunk_policies_are_accepted(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    file = write_chunk_bundle(tmp_path / "arm", **changes) / "policy.yaml"  # type: ignore[arg-type]
    assert any_contract(file).kind == "chunk"
