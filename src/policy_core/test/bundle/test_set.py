# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets in files: what is read, and what is refused."""

import base64
import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import StateEnd
from policy_core.bundle.signature import TrustedKeys, fingerprint
from policy_core.errors import BackendError, BundleError, Problem
from policy_core.interfaces import Kind
from policy_inference.backends.registry import open_models
from policy_inference.testing.models import add_branch
from testkit.edits import MISSING, Edits, with_edits
from testkit.wire_messages import DEPTH
from testkit.wording import check_wording, refusal

from .editing import check_refused, edits_name, file_sha256, refused_problems

SET: Mapping[str, Any] = {
    "schema_version": 1,
    "kind": "set",
    "name": "two_ways",
    "version": "1.0.0",
    "members": {"one": {"bundle": "../one"}, "two": {"bundle": "../two"}},
    "initial": "first",
    "states": {
        "first": {
            "members": ["one"],
            "stand": True,
            "to": {"second": {"when": {"pose": "low", "pose_within": {".*_knee": 0.2}}}},
        },
        "second": {"members": ["two"], "to": {"first": {}}, "way_back": "first"},
    },
    "poses": {"low": {"left_knee": 0.25, "right_knee": 0.75}},
}
WriteSet = Callable[..., Path]


@pytest.fixture
def write_tiny_set(template: Path, parsed: dict[str, Any], tmp_path: Path) -> WriteSet:
    """Write a set of two bundles beside it, with keys changed; return its folder."""

    def write(
        change: Edits | None = None, *, one: Edits | None = None, two: Edits | None = None
    ) -> Path:
        stated = with_edits(SET, {})
        for name, changes in (("one", one), ("two", two)):
            folder = shutil.copytree(template, tmp_path / name)
            contract = with_edits(parsed, {"name": name, **(changes or {})})
            (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
            stated["members"][name]["sha256"] = file_sha256(folder / "policy.yaml")
        file = tmp_path / "set" / "set.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(with_edits(stated, change or {}), sort_keys=False), "utf-8")
        return file.parent

    return write


def set_problems(folder: Path) -> tuple[Problem, ...]:
    return refused_problems(lambda: load_bundle(folder, kind=SetBundle))


def test_a_set_has_the_joints_of_its_members_and_a_body_for_the_guard(
    write_tiny_set: WriteSet,
) -> None:
    loaded = load_bundle(
        write_tiny_set(two={"joints.stiffness": 50.0, "stand.position": 0.7, "rate_hz": 25}),
        kind=SetBundle,
    )
    contract = loaded.contract
    assert contract.joints.names == ("left_knee", "right_knee")
    assert contract.kinds == (Kind.POSITION, Kind.VELOCITY)
    assert (contract.rate_hz, contract.members["two"].every) == (50.0, Fraction(2))
    assert contract.joints.stiffness.tolist() == [30.0, 30.0]
    assert contract.stand.position.tolist() == [0.5, 0.5]
    assert contract.stand.longest_s == 1.5
    assert contract.states["first"].to["second"].when.pose_within.tolist() == [0.2, 0.2]
    assert contract.poses["low"].tolist() == [0.25, 0.75]
    assert loaded.sha256 == file_sha256(loaded.path / "set.yaml")
    assert {model.key for model in loaded.models} == {"one.model", "two.model"}
    loaded.verify()


def test_a_member_that_branches_without_a_declaration_is_refused(
    write_tiny_set: WriteSet, template: Path, tmp_path: Path
) -> None:
    branching = Path(shutil.copy(template / "policy.onnx", tmp_path / "branching.onnx"))
    add_branch(branching)
    folder = write_tiny_set(one={"model.artifacts.onnx.sha256": file_sha256(branching)})
    shutil.copy(branching, tmp_path / "one" / "policy.onnx")
    bundle = load_bundle(folder, kind=SetBundle)
    (problem,) = refused_problems(bundle.verify)
    assert problem.file == str(folder / ".." / "one" / "policy.onnx")
    with pytest.raises(BackendError):
        open_models(bundle.models, ["onnx"])


def test_safety_is_the_strictest_of_all_members(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set(
        one={"safety.max_tilt_rad": 0.8, "safety.damp_after_s": 0.3, "safety.blend_s": 0.4},
        two={"safety.state_timeout_s": 0.03, "safety.margin": 1.2},
    )
    safety = load_bundle(folder, kind=SetBundle).contract.safety
    assert (safety.max_tilt_rad, safety.damp_after_s, safety.state_timeout_s) == (0.8, 0.1, 0.03)
    assert (safety.margin, safety.blend_s) == (1.2, 0.4)


def test_members_on_disjoint_joints_command_together(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set(
        {
            "members.one.joints": ["left_.*"],
            "members.two.joints": ["right_knee"],
            "states": {"first": {"members": ["one", "two"], "stand": True}},
        },
        two={"stand.via": []},
    )
    contract = load_bundle(folder, kind=SetBundle).contract
    assert contract.members["one"].commanded.tolist() == [0]
    assert contract.members["two"].commanded.tolist() == [1]


def test_joints_that_the_robot_names_otherwise_are_one_joint(write_tiny_set: WriteSet) -> None:
    renamed = {"joints.robot_names": {"left_knee": "L", "right_knee": "R"}}
    swapped = {
        **renamed,
        "joints.names": ["right_knee", "left_knee"],
        "joints.velocity_limit": {"left_knee": 10, "right_knee": 12},
        "nominal": None,
    }
    folder = write_tiny_set(
        {"poses.low": 0.5, "states.first.to.second": {}}, one=renamed, two=swapped
    )
    contract = load_bundle(folder, kind=SetBundle).contract
    assert contract.joints.names == ("L", "R")
    np.testing.assert_array_equal(contract.members["two"].places, [1, 0])
    assert contract.nominal is None


def test_a_set_is_no_policy_and_a_policy_no_set(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set()
    assert isinstance(load_bundle(folder, kind=Bundle), SetBundle)
    assert isinstance(load_bundle(folder.parent / "one", kind=Bundle), JointBundle)
    refused: list[Callable[[], object]] = [
        lambda: load_bundle(folder),
        lambda: load_bundle(folder, kind=JointBundle),
        lambda: load_bundle(folder.parent / "one", kind=SetBundle),
    ]
    for load in refused:
        (problem,) = refused_problems(load)
        assert problem.key == "kind"
        check_wording(problem)


def test_a_folder_holds_a_set_or_a_policy(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set()
    shutil.copy(folder.parent / "one" / "policy.yaml", folder)
    with refusal(BundleError):
        load_bundle(folder, kind=SetBundle)


def test_a_member_that_was_changed_is_refused(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set()
    with (folder.parent / "two" / "policy.yaml").open("a") as file:
        file.write("# changed\n")
    (problem,) = set_problems(folder)
    assert problem.key == "members.two.sha256"


def test_everything_wrong_is_said_at_once(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set({"initial": "third", "states.second.way_back": MISSING})
    (folder.parent / "one" / "policy.yaml").unlink()
    assert [(problem.file, problem.key) for problem in set_problems(folder)] == [
        *((str(folder / "set.yaml"), key) for key in ("initial", "states.second.way_back")),
        (str(folder / "../one/policy.yaml"), ""),
    ]


SECOND = "states.second"
WRONG: list[tuple[str, Edits]] = [
    (f"{SECOND}.way_back", {f"{SECOND}.way_back": MISSING}),
    ("states.first.way_back", {"states.first.way_back": "second"}),
    ("states.first.stand", {"states.first.stand": False}),
    ("initial", {"initial": "third"}),
    ("members.two", {f"{SECOND}.members": ["three"]}),
    (
        "states.third",
        {"states.third": {"members": ["two"], "to": {"first": {}}, "way_back": "first"}},
    ),
    (
        f"{SECOND}.way_back",
        {
            SECOND: {"members": ["two"], "to": {"third": {}}, "way_back": "third"},
            "states.third": {"members": ["one"], "to": {"second": {}}, "way_back": "second"},
        },
    ),
    (f"{SECOND}.ends.to", {f"{SECOND}.ends": {"after_s": 1, "to": "second"}}),
    ("states.first.to.second.when.pose", {"states.first.to.second.when.pose": "high"}),
    (
        "states.first.to.second.timeout_state",
        {
            "states.first.to.second.otherwise": "wait",
            "states.first.to.second.timeout_state": "second",
        },
    ),
    ("states.first.members", {"states.first.members": ["one", "two"]}),
    ("states.first.members", {"members.one.joints": ["left_knee"]}),
    ("states.first.held", {"states.first.held": ["left_knee"]}),
]
WRONG_MEMBERS: list[tuple[str, Edits]] = [
    ("members.two.bundle", {"joints.effort_limit": 30.0}),
    ("members.two.bundle", {"rate_hz": 30}),
    ("on_fault", {"safety.on_fault": "torque_off"}),
    ("members.two.bundle", {"action.terms.1.kind": "position"}),
    (
        "states.first.members",
        {
            "joints.names": ["left_elbow", "right_elbow"],
            "joints.position_max": 1.0,
            "joints.velocity_limit": 10.0,
            "observations.obs.terms.2.joints": ["right_elbow"],
            "action.terms.0.joints": ["left_elbow"],
            "action.terms.1.joints": ["right_elbow"],
        },
    ),
]


def check_problem(folder: Path, key: str) -> None:
    check_refused(lambda: load_bundle(folder, kind=SetBundle), key)


@pytest.mark.parametrize(("key", "edits"), WRONG, ids=edits_name)
def test_what_a_set_says_wrong_is_refused(write_tiny_set: WriteSet, key: str, edits: Edits) -> None:
    check_problem(write_tiny_set(edits), key)


@pytest.mark.parametrize(("key", "two"), WRONG_MEMBERS, ids=edits_name)
def test_members_that_do_not_fit_together_are_refused(
    write_tiny_set: WriteSet, key: str, two: Edits
) -> None:
    check_problem(write_tiny_set(two=two), key)


def test_a_recurrent_member_cannot_be_followed(write_tiny_set: WriteSet) -> None:
    terms = [{"term": "last_output", "output": "extra"}, {"term": "joint_vel"}]
    folder = write_tiny_set(
        {"members.two.starts": "followed"},
        two={
            "observations": {"obs": {"terms": terms}},
            "model.inputs.obs.shape": [1, 4],
            "model.outputs.extra": {"shape": [1, 2]},
        },
    )
    check_problem(folder, "members.two.starts")


POSTURE: Any = {
    "term": "external",
    "topic": "posture",
    "size": 2,
    "commanded": [
        {"name": name, "min": -0.1, "max": 0.7, "default": 0.0} for name in ("height", "lean")
    ],
}


def test_a_policy_whose_model_outputs_gains_runs_alone(write_tiny_set: WriteSet) -> None:
    two = {
        "action.gains.damping": {"output": "kd", "min": 0.1, "max": 9.0},
        "model.outputs.kd.shape": [1, 2],
    }
    check_problem(write_tiny_set(two=two), "members.two")


def takes_posture(**change: object) -> Edits:
    term = {key: value for key, value in {**POSTURE, **change}.items() if value is not None}
    terms = [term, {"term": "joint_vel"}]
    return {"observations": {"obs": {"terms": terms}}, "model.inputs.obs.shape": [1, 4]}


def test_members_share_the_commanded_values_of_a_topic(write_tiny_set: WriteSet) -> None:
    folder = write_tiny_set(one=takes_posture(), two=takes_posture())
    (topic,) = load_bundle(folder, kind=SetBundle).contract.commanded
    assert topic == POSTURE["topic"]


@pytest.mark.parametrize(
    "change",
    [{"timeout_s": 2.0}, {"commanded": POSTURE["commanded"][::-1]}, {"commanded": None}],
    ids=["time-out", "order", "an external vector"],
)
def test_members_that_read_a_topic_with_other_commanded_values_are_refused(
    write_tiny_set: WriteSet, change: Edits
) -> None:
    folder = write_tiny_set(one=takes_posture(), two=takes_posture(**change))
    check_problem(folder, "members.two.bundle")


@pytest.mark.parametrize("change", [{"invalid_m": 0.0}, {"rate_hz": 10.0}])
def test_members_that_see_different_images_of_a_topic_are_refused(
    write_tiny_set: WriteSet, change: dict[str, float]
) -> None:
    def seeing(**change: float) -> Edits:
        term = {"term": "depth", "topic": "perception/front", "depth": {**DEPTH, **change}}
        return {"observations": {"obs": {"terms": [term]}}, "model.inputs.obs.shape": [1, 12]}

    check_problem(write_tiny_set(one=seeing(), two=seeing(**change)), "members.two.bundle")


def write_tracking(write_set: WriteSet, change: Edits, at_end: str = "hold", fps: int = 50) -> Path:
    """Write a set whose member `two` tracks a clip of three frames."""
    clip, content, pose = Path("motion.npz"), io.BytesIO(), np.full((3, 2), 0.5)
    names = np.array(["left_knee", "right_knee"])
    np.savez(content, fps=fps, joint_names=names, joint_pos=pose, joint_vel=0 * pose)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    folder = write_set(
        change,
        two={
            "observations": {"obs": {"terms": [{"term": "motion_joint_pos"}]}},
            "model.inputs.obs.shape": [1, 2],
            "motion": {"clip": {"file": clip.name, "sha256": digest}, "at_end": at_end},
        },
    )
    (folder.parent / "two" / clip).write_bytes(content.getvalue())
    return folder


def test_a_state_without_a_time_ends_with_a_motion_that_ends(write_tiny_set: WriteSet) -> None:
    ends = {"states.second.ends": {"to": "first"}}
    contract = load_bundle(write_tracking(write_tiny_set, ends), kind=SetBundle).contract
    assert contract.states["second"].ends == StateEnd(to="first")


@pytest.mark.parametrize("state", ["first", "second"])
def test_a_state_without_a_time_or_a_motion_that_ends_is_refused(
    write_tiny_set: WriteSet, state: str
) -> None:
    other = {"first": "second", "second": "first"}[state]
    edits: Edits = {f"states.{state}.ends": {"to": other}, "members.two.starts": "followed"}
    folder = write_tracking(write_tiny_set, edits, at_end="loop")
    check_problem(folder, "members.two.starts")  # a motion cannot be followed
    check_problem(folder, f"states.{state}.ends.after_s")


def test_only_a_state_that_tracks_a_clip_has_a_first_frame(write_tiny_set: WriteSet) -> None:
    folder = write_tracking(
        write_tiny_set,
        {
            "states.first.to.second.when": {"pose": "first_frame"},
            "states.second.to.first.when": {"pose": "first_frame"},
        },
    )
    check_problem(folder, "states.second.to.first.when.pose")


WITH_AN_ARM: Edits = {
    "members.arm": {"bundle": "../arm"},
    "states": {
        "first": {"members": ["one", "arm"], "stand": True, "to": {"second": {}}},
        "second": {
            "members": ["two"],
            "held": ["gripper", "shoulder_pan", "elbow_flex"],
            "to": {"first": {}},
            "way_back": "first",
        },
    },
    "poses": {},
    "on_fault": "damp",
}


@pytest.fixture
def write_with_arm(write_tiny_set: WriteSet, chunk_template: Path, tmp_path: Path) -> WriteSet:

    def write(change: Edits | None = None, *, arm: Edits | None = None) -> Path:
        folder = shutil.copytree(chunk_template, tmp_path / "arm")
        contract = with_edits(
            yaml.safe_load((folder / "policy.yaml").read_text("utf-8")), arm or {}
        )
        (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
        pinned = {"members.arm.sha256": file_sha256(folder / "policy.yaml")}
        return write_tiny_set({**WITH_AN_ARM, **pinned, **(change or {})})

    return write


def test_a_chunk_policy_is_a_member_with_joints_and_limits_of_its_own(
    write_with_arm: WriteSet,
) -> None:
    loaded = load_bundle(write_with_arm(), kind=SetBundle)
    contract = loaded.contract
    assert contract.joints.names[2:] == ("gripper", "shoulder_pan", "elbow_flex")
    assert isinstance(loaded.members["arm"], ChunkBundle)
    assert (contract.rate_hz, contract.members["arm"].every) == (50.0, Fraction(5, 3))
    assert contract.safety.on_fault == "damp"
    assert contract.joints.effort_limit.tolist()[2:] == [3.0] * 3
    assert contract.stand.position.tolist()[2:] == [0.8, 0.0, 0.0]
    assert {key.partition(".")[0] for key in contract.models} == {"one", "two", "arm"}
    loaded.verify()


@pytest.mark.parametrize(
    ("key", "edits"),
    [
        ("on_fault", {"on_fault": None}),
        ("on_fault", {"on_fault": "torque_off"}),
        ("members.arm.starts", {"members.arm.starts": "followed"}),
    ],
    ids=edits_name,
)
def test_what_a_set_with_an_arm_says_wrong_is_refused(
    write_with_arm: WriteSet, key: str, edits: Edits
) -> None:
    check_problem(write_with_arm(edits), key)


def test_the_fastest_rate_is_one_that_joint_policies_can_keep(write_with_arm: WriteSet) -> None:
    folder = write_with_arm(arm={"rate_hz": 60})
    for member in ("one", "two"):
        check_problem(folder, f"members.{member}.bundle")


def test_a_signed_set_covers_its_members_by_their_hashes(
    write_tiny_set: WriteSet, tmp_path: Path
) -> None:
    folder, key = write_tiny_set(), Ed25519PrivateKey.generate()
    public = key.public_key()
    trusted = TrustedKeys({fingerprint(public): public}, "a test")
    (unsigned,) = refused_problems(lambda: load_bundle(folder, trusted, kind=SetBundle))
    assert Path(unsigned.file).name == "set.yaml.sig"
    signature = base64.b64encode(key.sign((folder / "set.yaml").read_bytes()))
    (folder / "set.yaml.sig").write_bytes(signature)
    loaded = load_bundle(folder, trusted, kind=SetBundle)
    assert loaded.signed_by == fingerprint(public)
    with (tmp_path / "one" / "policy.yaml").open("a") as file:
        file.write("# changed\n")
    (changed,) = refused_problems(lambda: load_bundle(folder, trusted, kind=SetBundle))
    assert changed.key == "members.one.sha256"
