# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets in files: what is read, and what is refused."""

import base64
import copy
import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy_inference.bundle.bundle import Bundle, ChunkBundle, JointBundle, SetBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.set_contract import StateEnd
from policy_inference.bundle.signature import TrustedKeys, fingerprint
from policy_inference.errors import BundleError
from policy_inference.interfaces import Kind

from .editing import MISSING, set_key, sha256

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
Change = Mapping[str, object]
Write = Callable[..., Path]


@pytest.fixture
def write(template: Path, parsed: dict[str, Any], tmp_path: Path) -> Write:
    """Write a set of two bundles beside it, with keys changed; return its folder."""

    def write(
        change: Change | None = None, *, one: Change | None = None, two: Change | None = None
    ) -> Path:
        stated = copy.deepcopy(dict(SET))
        for name, changes in (("one", one), ("two", two)):
            folder = shutil.copytree(template, tmp_path / name)
            contract = copy.deepcopy(parsed)
            for key, value in {"name": name, **(changes or {})}.items():
                set_key(contract, key, value)
            (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
            stated["members"][name]["sha256"] = sha256(folder / "policy.yaml")
        for key, value in (change or {}).items():
            set_key(stated, key, value)
        file = tmp_path / "set" / "set.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")
        return file.parent

    return write


def problems_of(folder: Path) -> list[str]:
    """Load a set that is wrong; return its problems without the file's name."""
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, kind=SetBundle)
    prefix = f"{folder / 'set.yaml'}: "
    return [line.removeprefix(prefix) for line in str(caught.value).splitlines()]


def test_a_set_has_the_joints_of_its_members_and_a_body_for_the_guard(write: Write) -> None:
    loaded = load_bundle(
        write(two={"joints.stiffness": 50.0, "stand.position": 0.7, "rate_hz": 25}), kind=SetBundle
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
    assert loaded.sha256 == sha256(loaded.path / "set.yaml")
    assert {model.key for model in loaded.models} == {"one.model", "two.model"}
    loaded.verify()


def test_safety_is_the_strictest_of_all_members(write: Write) -> None:
    folder = write(
        one={"safety.max_tilt_rad": 0.8, "safety.damp_after_s": 0.3, "safety.blend_s": 0.4},
        two={"safety.state_timeout_s": 0.03, "safety.margin": 1.2},
    )
    safety = load_bundle(folder, kind=SetBundle).contract.safety
    assert (safety.max_tilt_rad, safety.damp_after_s, safety.state_timeout_s) == (0.8, 0.1, 0.03)
    assert (safety.margin, safety.blend_s) == (1.2, 0.4)


def test_members_on_disjoint_joints_command_together(write: Write) -> None:
    folder = write(
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


def test_joints_that_the_robot_names_otherwise_are_one_joint(write: Write) -> None:
    renamed = {"joints.robot_names": {"left_knee": "L", "right_knee": "R"}}
    swapped = {
        **renamed,
        "joints.names": ["right_knee", "left_knee"],
        "joints.velocity_limit": {"left_knee": 10, "right_knee": 12},
        "nominal": None,
    }
    folder = write({"poses.low": 0.5, "states.first.to.second": {}}, one=renamed, two=swapped)
    contract = load_bundle(folder, kind=SetBundle).contract
    assert contract.joints.names == ("L", "R")
    np.testing.assert_array_equal(contract.members["two"].places, [1, 0])
    assert contract.nominal is None


def test_a_set_is_no_policy_and_a_policy_no_set(write: Write) -> None:
    folder = write()
    assert isinstance(load_bundle(folder, kind=Bundle), SetBundle)
    assert isinstance(load_bundle(folder.parent / "one", kind=Bundle), JointBundle)
    other = "found set; policy_set_node runs this policy"
    with pytest.raises(BundleError, match=f"kind: expected joint or chunk, {other}"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=f"kind: expected joint, {other}"):
        load_bundle(folder, kind=JointBundle)
    with pytest.raises(BundleError, match="kind: expected set, found joint; joint_policy_node"):
        load_bundle(folder.parent / "one", kind=SetBundle)


def test_a_folder_holds_a_set_or_a_policy(write: Write) -> None:
    folder = write()
    shutil.copy(folder.parent / "one" / "policy.yaml", folder)
    with pytest.raises(BundleError, match=r"a policy \(policy.yaml\) or a set .*, found both"):
        load_bundle(folder, kind=SetBundle)


def test_a_member_that_was_changed_is_refused(write: Write) -> None:
    folder = write()
    with (folder.parent / "two" / "policy.yaml").open("a") as file:
        file.write("# changed\n")
    (problem,) = problems_of(folder)
    assert problem.startswith("members.two.sha256: expected ")


def test_everything_wrong_is_said_at_once(write: Write) -> None:
    folder = write({"initial": "third", "states.second.way_back": MISSING})
    (folder.parent / "one" / "policy.yaml").unlink()
    problems = problems_of(folder)
    assert len(problems) == 3
    assert problems[2] == f"{folder / '../one/policy.yaml'}: expected a file, found nothing"


WRONG: list[tuple[Change, str]] = [
    ({"members.one.sha256": "abc"}, "members.one.sha256: expected text like"),
    ({"states.second.to": {}}, "states.second.way_back: expected a state that `states.second.to`"),
    (
        {"states.second.way_back": MISSING},
        "states.second.way_back: expected the next state on the way back to standing, found "
        "nothing; name it, or set `stand: true`",
    ),
    ({"states.first.way_back": "second"}, "states.first.way_back: expected nothing"),
    ({"states.first.stand": False}, "states.first.stand: expected true"),
    ({"initial": "third"}, "initial: expected one of the states (first, second), found 'third'"),
    ({"states.second.members": ["three"]}, "members.two: expected a state in which it commands"),
    (
        {"states.third": {"members": ["two"], "to": {"first": {}}, "way_back": "first"}},
        "states.third: expected a transition or a fallback that leads here from first, found none",
    ),
    (
        {
            "states.second": {"members": ["two"], "to": {"third": {}}, "way_back": "third"},
            "states.third": {"members": ["one"], "to": {"second": {}}, "way_back": "second"},
        },
        "states.second.way_back: expected a way that ends in a state with `stand: true`, found "
        "the cycle second -> third -> second",
    ),
    ({"states.second.fallback": "second"}, "states.second.fallback: expected another state"),
    ({"states.second.ends": {"after_s": 1, "to": "second"}}, "states.second.ends.to: expected"),
    (
        {"states.first.to.second.when.pose": "high"},
        "states.first.to.second.when.pose: expected one",
    ),
    ({"states.first.to.second.timeout_state": "second"}, "states.first.to.second.timeout_state"),
    (
        {
            "states.first.to.second.otherwise": "wait",
            "states.first.to.second.timeout_state": "second",
        },
        "states.first.to.second.timeout_state: expected another state, found 'second'",
    ),
    ({"poses.low": {"elbow": 1.0}}, "poses.low: expected keys that match one of"),
    ({"silence_s": 0.0}, "silence_s: expected a number > 0"),
    ({"poses.stand": 0.5}, "poses.stand: expected another name"),
    (
        {"states.first.members": ["one", "two"]},
        "states.first.members: expected one member for left_knee, found one and two",
    ),
    (
        {"members.one.joints": ["left_knee"]},
        "states.first.members: expected a member for each joint of the set, found none for "
        "right_knee (of two); list the joints that stay in the stand pose in `held`",
    ),
    ({"states.first.held": ["left_knee"]}, "states.first.held: expected joints that no member"),
    ({"members.one.joints": ["elbow"]}, "members.one.joints: expected joints of the member"),
    (
        {"states.first.to.second.when.gait_phase": [0.1, 2.0]},
        "states.first.to.second.when.gait_phase[1]: expected a number <= 1",
    ),
]
WRONG_MEMBERS: list[tuple[Change, str]] = [
    (
        {"joints.effort_limit": 30.0},
        "members.two.bundle: expected effort_limit of left_knee 20, as in the member one, found 30",
    ),
    ({"rate_hz": 30}, "members.two.bundle: expected a rate that 50 Hz, the fastest of the set, is"),
    (
        {"safety.on_fault": "torque_off"},
        "on_fault: expected what replaces all targets after a fault, since the members differ, "
        "found nothing (damp of one, torque_off of two)",
    ),
    (
        {"action.terms.1.kind": "position"},
        "members.two.bundle: expected right_knee commanded by velocity, as in the member one, "
        "found by position",
    ),
    (
        {
            "joints.names": ["left_elbow", "right_elbow"],
            "joints.position_max": 1.0,
            "joints.velocity_limit": 10.0,
            "observations.obs.terms.2.joints": ["right_elbow"],
            "action.terms.0.joints": ["left_elbow"],
            "action.terms.1.joints": ["right_elbow"],
        },
        "states.first.members: expected a member for each joint of the set, found none for "
        "left_elbow, right_elbow (of two)",
    ),
]


def case_name(value: object) -> str:
    """Name a case by the keys that are changed and by what the message says."""
    return ", ".join(value) if isinstance(value, Mapping) else str(value)[:50]


@pytest.mark.parametrize(("change", "problem"), WRONG, ids=case_name)
def test_what_a_set_says_wrong_is_refused(write: Write, change: Change, problem: str) -> None:
    assert [found for found in problems_of(write(change)) if found.startswith(problem)]


@pytest.mark.parametrize(("two", "problem"), WRONG_MEMBERS, ids=case_name)
def test_members_that_do_not_fit_together_are_refused(
    write: Write, two: Change, problem: str
) -> None:
    assert [found for found in problems_of(write(two=two)) if found.startswith(problem)]


def test_a_recurrent_member_cannot_be_followed(write: Write) -> None:
    terms = [{"term": "last_output", "output": "extra"}, *({"term": "joint_vel"},)]
    folder = write(
        {"members.two.starts": "followed"},
        two={
            "observations": {"obs": {"terms": terms}},
            "model.inputs.obs.shape": [1, 4],
            "model.outputs.extra": {"shape": [1, 2]},
        },
    )
    (problem,) = problems_of(folder)
    assert problem.startswith("members.two.starts: expected clean for a policy with the term last")


def test_members_that_expect_different_sizes_of_an_external_vector_are_refused(
    write: Write,
) -> None:
    def scan(size: int) -> Change:
        term = {"term": "external", "topic": "height_scan", "size": size}
        return {
            "observations": {"obs": {"terms": [term]}},
            "model.inputs.obs.shape": [1, size],
        }

    (problem,) = problems_of(write(one=scan(3), two=scan(5)))
    assert problem.startswith(
        "members.two.bundle: expected size of the external vector height_scan 3, as in the member "
        "one, found 5"
    )


def write_tracking(
    write: Write,
    change: Change,
    at_end: str = "hold",
    arrays: Mapping[str, npt.ArrayLike] | None = None,
) -> Path:
    """Write a set whose member `two` tracks a clip of three frames, with other arrays."""
    clip = Path("motion.npz")
    names, pose = np.array(["left_knee", "right_knee"]), np.full((3, 2), 0.5)
    content = io.BytesIO()
    found: dict[str, npt.ArrayLike] = {"fps": 50, "joint_names": names, "joint_pos": pose}
    found |= {"joint_vel": 0 * pose, **(arrays or {})}
    np.savez(content, **{name: np.array(array) for name, array in found.items()})  # type: ignore[arg-type]  # numpy's annotations take any of the arrays for its own keyword
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    folder = write(
        change,
        two={
            "observations": {"obs": {"terms": [{"term": "motion_joint_pos"}]}},
            "model.inputs.obs.shape": [1, 2],
            "motion": {"clip": {"file": clip.name, "sha256": digest}, "at_end": at_end},
        },
    )
    (folder.parent / "two" / clip).write_bytes(content.getvalue())
    return folder


def test_a_member_that_tracks_a_motion_cannot_be_followed(write: Write) -> None:
    (problem,) = problems_of(write_tracking(write, {"members.two.starts": "followed"}))
    assert problem.startswith("members.two.starts: expected clean for a policy that tracks a mot")


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {"joint_names": ["left_wing", "right_wing"]},
            "joint_names: expected a clip of this robot, with left_knee, right_knee, found left_w",
        ),
        (
            {"joint_pos": [[0.5, 0.5], [0.5, np.nan], [0.5, 0.5]]},
            "joint_pos: expected finite values, found NaN or infinity in 1 frames, first in fr",
        ),
        ({"joint_pos": [[0.5, 0.5]], "joint_vel": [[0.0, 0.0]]}, "joint_pos: expected at least 2"),
        ({"fps": 30}, "fps: expected 50 Hz, the policy's rate, found 30"),
    ],
    ids=["another robot", "NaN", "one frame", "another rate"],
)
def test_a_member_whose_clip_is_wrong_is_named_by_its_file(
    write: Write, arrays: Mapping[str, npt.ArrayLike], problem: str
) -> None:
    folder = write_tracking(write, {}, arrays=arrays)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, kind=SetBundle)
    assert f"two/motion.npz: {problem}" in str(caught.value)


def test_a_state_without_a_time_ends_with_a_motion_that_ends(write: Write) -> None:
    ends = {"states.second.ends": {"to": "first"}}
    contract = load_bundle(write_tracking(write, ends), kind=SetBundle).contract
    assert contract.states["second"].ends == StateEnd(to="first")


@pytest.mark.parametrize("state", ["first", "second"])
def test_a_state_without_a_time_or_a_motion_that_ends_is_refused(write: Write, state: str) -> None:
    other = {"first": "second", "second": "first"}[state]
    folder = write_tracking(write, {f"states.{state}.ends": {"to": other}}, at_end="loop")
    (problem,) = problems_of(folder)
    member = {"first": "one", "second": "two"}[state]
    assert problem.startswith(
        f"states.{state}.ends.after_s: expected the time after which the state ends, s, found "
        f"nothing, and no motion of {member} that ends; state it, or let a member track"
    )


def test_only_a_state_that_tracks_a_clip_has_a_first_frame(write: Write) -> None:
    folder = write_tracking(
        write,
        {
            "states.first.to.second.when": {"pose": "first_frame"},
            "states.second.to.first.when": {"pose": "first_frame"},
        },
    )
    (problem,) = problems_of(folder)
    assert problem.startswith(
        "states.second.to.first.when.pose: expected a member of first that tracks a clip, found one"
    )


WITH_AN_ARM: Change = {
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
def write_with_arm(write: Write, chunk_template: Path, tmp_path: Path) -> Write:
    """Write a set of two joint policies and a chunk policy; return its folder."""

    def write_with_arm(change: Change | None = None, *, arm: Change | None = None) -> Path:
        folder = shutil.copytree(chunk_template, tmp_path / "arm")
        contract = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
        for key, value in (arm or {}).items():
            set_key(contract, key, value)
        (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
        pinned = {"members.arm.sha256": sha256(folder / "policy.yaml")}
        return write({**copy.deepcopy(dict(WITH_AN_ARM)), **pinned, **(change or {})})

    return write_with_arm


def test_a_chunk_policy_is_a_member_with_joints_and_limits_of_its_own(
    write_with_arm: Write,
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


def test_members_that_end_a_fault_otherwise_need_a_word_of_the_set(write_with_arm: Write) -> None:
    (problem,) = problems_of(write_with_arm({"on_fault": None}))
    assert problem == (
        "on_fault: expected what replaces all targets after a fault, since the members differ, "
        "found nothing (damp of one, hold_measured of arm, damp of two); state it, for a robot "
        "whose parts differ; else correct the policy.yaml that is wrong"
    )


def test_a_set_cannot_ask_for_what_no_member_says_after_a_fault(write_with_arm: Write) -> None:
    (problem,) = problems_of(write_with_arm({"on_fault": "torque_off"}))
    assert problem.startswith("on_fault: expected what a member says (damp, hold_measured), found")


def test_a_chunk_policy_starts_clean(write_with_arm: Write) -> None:
    (problem,) = problems_of(write_with_arm({"members.arm.starts": "followed"}))
    assert problem.startswith("members.arm.starts: expected clean for a policy with chunks, found")


def test_the_fastest_rate_is_one_that_joint_policies_can_keep(write_with_arm: Write) -> None:
    problems = problems_of(write_with_arm(arm={"rate_hz": 60}))
    expected = "expected a rate that 60 Hz, the fastest of the set, is a multiple of, found 50 Hz"
    assert [problem.partition(";")[0] for problem in problems] == [
        f"members.one.bundle: {expected}",
        f"members.two.bundle: {expected}",
    ]


def test_a_signed_set_covers_its_members_by_their_hashes(write: Write, tmp_path: Path) -> None:
    folder, key = write(), Ed25519PrivateKey.generate()
    public = key.public_key()
    trusted = TrustedKeys({fingerprint(public): public}, "a test")
    with pytest.raises(BundleError, match=r"set\.yaml\.sig: expected a signature"):
        load_bundle(folder, trusted, kind=SetBundle)
    signature = base64.b64encode(key.sign((folder / "set.yaml").read_bytes()))
    (folder / "set.yaml.sig").write_bytes(signature)
    loaded = load_bundle(folder, trusted, kind=SetBundle)
    assert loaded.signed_by == fingerprint(public)
    with (tmp_path / "one" / "policy.yaml").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(BundleError, match=r"members\.one\.sha256"):
        load_bundle(folder, trusted, kind=SetBundle)
