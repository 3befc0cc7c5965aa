# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy is shown of its reference motion, tick by tick."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from policy_core.bundle.clip import MotionClip
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F64
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from testkit.kernel.contracts import DEFAULT, MOTION, bundle_of, clip_of, contract_of, quat_xyzw
from testkit.kernel.robots import UPRIGHT, ScriptedBackend

JOINTS = ({"term": "motion_joint_pos"}, {"term": "motion_joint_vel"})
ANCHOR = ({"term": "motion_anchor_pos_b"}, {"term": "motion_anchor_ori_b"})
FRAMES = 4


class Tracker:
    def __init__(
        self,
        clip: MotionClip,
        terms: Sequence[Mapping[str, object]],
        motion: Mapping[str, object] = MOTION,
    ) -> None:
        self.contract: JointContract = contract_of(
            {"observations": {"obs": {"terms": list(terms)}}, "motion": motion}
        )
        self.backend = ScriptedBackend(self.contract)
        self.state = RobotState(self.contract, orientation=True)
        self.policy = JointPolicy(bundle_of(self.contract, clip=clip), self.backend, self.state)
        self.measure()
        self.policy.reset()

    def measure(
        self,
        quat: npt.ArrayLike = UPRIGHT,
        pos: npt.ArrayLike = (0.0, 0.0, 0.0),
        joints: npt.ArrayLike = DEFAULT,
    ) -> None:
        self.state["joint_pos"][:], self.state["joint_vel"][:] = joints, 0.0
        self.state["quat_xyzw"][:] = quat
        if "pos_world" in self.state.slices:
            self.state["pos_world"][:] = pos

    def tick(self, *, taken: bool = True) -> F64:
        """Return the observation of a tick."""
        self.state.derive()
        self.policy.infer()
        seen = self.backend.inputs["obs"].ravel().astype(np.float64)
        if taken:
            self.policy.commit()
        return seen


def live_contract(terms: Sequence[Mapping[str, object]]) -> JointContract:
    motion = {"live": {"timeout_s": 0.1}, "anchor": MOTION["anchor"]}
    return contract_of({"observations": {"obs": {"terms": list(terms)}}, "motion": motion})


def at_end(value: str) -> dict[str, object]:
    return {**MOTION, "at_end": value}


def test_each_tick_shows_the_next_frame() -> None:
    clip = clip_of(FRAMES)
    tracker = Tracker(clip, JOINTS)
    for frame in range(FRAMES):
        expected = [*clip.joint_pos[frame], *clip.joint_vel[frame]]
        np.testing.assert_allclose(tracker.tick(), expected, atol=1e-6)


def test_a_clip_that_ended_holds_its_last_pose_at_rest() -> None:
    clip = clip_of(FRAMES)
    tracker = Tracker(clip, JOINTS)
    seen = [tracker.tick() for _ in range(FRAMES + 3)]
    for after in seen[FRAMES:]:
        np.testing.assert_allclose(after, [*clip.joint_pos[-1], 0.0, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(("end", "frames"), [("hold", [2, 3, 3, 3]), ("loop", [2, 3, 0, 1])])
def test_a_term_looks_ahead_to_the_end_and_beyond(end: str, frames: list[int]) -> None:
    clip = clip_of(FRAMES)
    tracker = Tracker(clip, [{"term": "motion_joint_pos", "ahead": 2}], at_end(end))
    seen = [tracker.tick() for _ in frames]
    np.testing.assert_allclose(seen, clip.joint_pos[frames], atol=1e-6)


def test_a_result_that_is_not_taken_leaves_the_reference_where_it_was() -> None:
    clip = clip_of(FRAMES)
    tracker = Tracker(clip, JOINTS)
    tracker.tick()
    dropped = tracker.tick(taken=False)
    np.testing.assert_array_equal(tracker.tick(), dropped)


def test_the_motion_begins_where_the_robot_stands_with_its_heading() -> None:
    tracker = Tracker(clip_of(FRAMES), ANCHOR)
    for yaw, place in ((0.5, (1.0, -2.0, 0.3)), (-3.0, (0.0, 9.0, 0.0))):
        tracker.measure(quat_xyzw(0.0, 0.0, yaw), place)
        tracker.policy.reset()
        np.testing.assert_allclose(tracker.tick(), [0, 0, 0, 1, 0, 0, 1, 0, 0], atol=1e-6)


def test_what_the_robot_missed_of_the_motion_is_seen_in_its_own_frame() -> None:
    """It stands still, turned by 1 rad, while the reference walks 0.1 m forward and turns."""
    tracker = Tracker(clip_of(FRAMES, turn_rad=0.2, step_m=0.1), ANCHOR)
    tracker.measure(quat_xyzw(0.0, 0.0, 1.0), (3.0, 4.0, 0.5))
    tracker.policy.reset()
    tracker.tick()
    seen = tracker.tick()
    np.testing.assert_allclose(seen[:3], [0.1 * math.cos(0.2), 0.1 * math.sin(0.2), 0.0], atol=1e-6)
    turned = [math.cos(0.2), -math.sin(0.2), math.sin(0.2), math.cos(0.2), 0.0, 0.0]
    np.testing.assert_allclose(seen[3:], turned, atol=1e-6)


def test_a_clip_that_loops_goes_on_from_where_it_ended() -> None:
    """A robot that stands still sees a reference that walks away, a step per tick."""
    tracker = Tracker(clip_of(FRAMES, turn_rad=0.3, step_m=0.1), ANCHOR, at_end("loop"))
    seen = np.array([tracker.tick() for _ in range(3 * FRAMES)])
    steps = np.linalg.norm(np.diff(seen[:, :3], axis=0), axis=1)
    again = np.arange(len(steps)) % FRAMES == FRAMES - 1
    np.testing.assert_allclose(steps[~again], 0.1, atol=1e-6)
    np.testing.assert_allclose(steps[again], 0.0, atol=1e-6)
    headings = np.unwrap(np.arctan2(seen[:, 5], seen[:, 3]))
    np.testing.assert_allclose(np.diff(headings)[~again], 0.3, atol=1e-6)
    np.testing.assert_allclose(np.diff(headings)[again], 0.0, atol=1e-6)


def matrix(quat: Sequence[float]) -> F64:
    x, y, z, w = quat
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + 2 * w * skew + 2 * skew @ skew)


def turn_about(axis: Sequence[float], angle: float) -> F64:
    return matrix([*np.multiply(axis, math.sin(angle / 2)), math.cos(angle / 2)])


CHAIN = (
    {"joint": "hip", "position_m": [0.1, 0.0, 0.4], "axis": [0.0, 0.0, 2.0]},
    {
        "joint": "knee",
        "position_m": [0.0, 0.2, 0.1],
        "quat_xyzw": list(quat_xyzw(0.1, 0.7, -0.4)),
        "axis": [1.0, 0.0, 0.0],
    },
    {"position_m": [0.05, 0.0, 0.3]},
)


def anchor_pose(quat: Sequence[float], pos: npt.ArrayLike, joints: F64) -> tuple[F64, F64]:
    """Return orientation and position of the anchor at the end of `CHAIN`."""
    turn, place = matrix(quat), np.array(pos)
    place = place + turn @ (0.1, 0.0, 0.4)
    turn = turn @ turn_about((0.0, 0.0, 1.0), joints[0])
    place = place + turn @ (0.0, 0.2, 0.1)
    turn = turn @ matrix(quat_xyzw(0.1, 0.7, -0.4)) @ turn_about((1.0, 0.0, 0.0), joints[1])
    return turn, place + turn @ (0.05, 0.0, 0.3)


def test_an_anchor_beyond_joints_is_found_through_them() -> None:
    random = np.random.default_rng(5)
    motion = {**MOTION, "anchor": {"body": "trunk", "chain": list(CHAIN)}}
    clip = clip_of(40, turn_rad=0.05, step_m=0.02)
    tracker = Tracker(clip, ANCHOR, motion)
    begin = (quat_xyzw(0.1, -0.2, 0.9), (1.0, 2.0, 0.7), np.array(DEFAULT))
    tracker.measure(*begin)
    tracker.policy.reset()
    tracker.tick()
    first, origin = anchor_pose(*begin)
    turn = turn_about((0.0, 0.0, 1.0), math.atan2(first[1, 0], first[0, 0]))
    for frame in range(1, 40):
        now = (quat_xyzw(*random.normal(0, 0.5, 3)), random.normal(0, 1, 3), random.normal(0, 1, 3))
        tracker.measure(*now)
        robot, place = anchor_pose(*now)
        there = turn @ (clip.anchor_pos[frame] - clip.anchor_pos[0]) + origin
        relative = robot.T @ turn @ matrix(clip.anchor_quat_xyzw[frame])
        expected = [*(robot.T @ (there - place)), *relative[:, :2].ravel()]
        np.testing.assert_allclose(tracker.tick(), expected, atol=1e-5)


@pytest.mark.parametrize("quat", [(0.0,) * 4, (math.inf, 0.0, 0.0, 1.0), (math.nan,) * 4])
def test_an_orientation_that_is_none_is_named_and_does_not_spoil_the_motion(
    quat: tuple[float, ...],
) -> None:
    tracker = Tracker(clip_of(FRAMES), ANCHOR)
    tracker.measure(quat)
    tracker.state.derive()
    assert "motion_anchor_ori" in tracker.state.not_finite()
    tracker.measure()
    tracker.state.derive()
    assert tracker.state.is_finite()


class LiveTracker(Tracker):
    def __init__(self, terms: Sequence[Mapping[str, object]]) -> None:
        self.contract = live_contract(terms)
        self.backend = ScriptedBackend(self.contract)
        self.state = RobotState(self.contract, orientation=True)
        self.policy = JointPolicy(bundle_of(self.contract), self.backend, self.state)
        self.measure()
        self.policy.reset()

    def brings(self, **fields: npt.ArrayLike) -> None:
        """Bring a frame: `joint_pos`, `joint_vel`, `anchor_pos`, `anchor_quat_xyzw`."""
        for name, values in fields.items():
            self.state[f"live_{name}"][:] = values


def test_a_live_motion_shows_the_newest_frame_in_each_tick() -> None:
    tracker = LiveTracker(JOINTS)
    for frame in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]):
        tracker.brings(joint_pos=frame, joint_vel=np.multiply(frame, 2.0))
        for _ in range(2):
            np.testing.assert_allclose(tracker.tick(), [*frame, *np.multiply(frame, 2.0)])


def test_a_live_motion_begins_where_the_robot_is() -> None:
    tracker = LiveTracker(ANCHOR)
    tracker.measure(quat_xyzw(0.0, 0.0, 1.0), pos=(3.0, -2.0, 0.5))
    tracker.brings(anchor_pos=(7.0, 8.0, 0.9), anchor_quat_xyzw=quat_xyzw(0.0, 0.0, -2.0))
    np.testing.assert_allclose(tracker.tick(), [0, 0, 0, 1, 0, 0, 1, 0, 0], atol=1e-6)
    # A step of the reference along its own heading is one along the robot's.
    step = (7.0 + math.cos(-2.0), 8.0 + math.sin(-2.0), 0.9)
    tracker.brings(anchor_pos=step, anchor_quat_xyzw=quat_xyzw(0.0, 0.0, -1.5))
    c, s = math.cos(0.5), math.sin(0.5)
    np.testing.assert_allclose(tracker.tick(), [1, 0, 0, c, -s, s, c, 0, 0], atol=1e-6)
