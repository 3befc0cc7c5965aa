# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from policy_core.errors import NoTargetError
from policy_core.members.chunk.observation_sync import ObservationSync
from policy_core.observation.freshness import Input
from policy_core.observation.images import Frame, read_frame
from policy_core.observation.state import StateVector
from testkit.kernel.chunk_contracts import HEIGHT, WIDTH, camera_of, chunk_contract_of
from testkit.kernel.messages import plain, rgb8
from testkit.wording import refusal

MS = 1_000_000


def frame_with(value: int) -> Frame:
    """Return a frame that its first byte identifies."""
    return read_frame(rgb8(plain(value, 0, 0, HEIGHT, WIDTH)), camera_of())


class Seen:
    """A sync with two cameras whose frames are identified by their time in ms."""

    def __init__(self, **pairing: object) -> None:
        self.state = StateVector({"joint_pos": 3})
        self.joints = Input("joint_states", None)
        self.sync = ObservationSync(
            chunk_contract_of({"pairing": pairing}), self.state, {"joint_states": self.joints}
        )

    def frames(self, camera: str, *times_ms: int) -> None:
        for time_ms in times_ms:
            self.sync.frames[camera].add(frame_with(time_ms), time_ms * MS)

    def tick(self, now_ms: int, position: float = 0.0, *, delay_ms: int = 0) -> None:
        """Let a tick find positions that are so old."""
        self.state["joint_pos"][:] = position
        self.joints.accept((now_ms - delay_ms) * MS)
        self.sync.record_state(now_ms * MS)

    def chosen(self, now_ms: int = 200) -> tuple[int, dict[str, int]]:
        sensed = self.sync.snapshot(now_ms * MS)
        return sensed.time_ns // MS, {name: frame.data[0] for name, frame in sensed.frames.items()}


def test_the_newest_frames_are_chosen_where_they_belong_together() -> None:
    seen = Seen()
    seen.tick(150)
    seen.frames("laptop", 80, 113, 146)
    seen.frames("phone", 77, 110, 143)
    assert seen.chosen() == (143, {"laptop": 146, "phone": 143})


def test_a_camera_that_lags_is_met_by_an_older_frame_of_the_other() -> None:
    seen = Seen()
    seen.tick(150)
    seen.frames("laptop", 80, 113, 146)
    seen.frames("phone", 60, 85)
    assert seen.chosen() == (85, {"laptop": 80, "phone": 85})


def test_three_frames_are_kept() -> None:
    seen = Seen(tolerance_s=0.001)
    seen.tick(150)
    seen.frames("laptop", 50, 80, 113, 146)
    seen.frames("phone", 50)
    with refusal(NoTargetError):
        seen.chosen()


def test_without_a_frame_the_camera_is_named() -> None:
    seen = Seen()
    seen.tick(150)
    seen.frames("laptop", 146)
    with refusal(NoTargetError):
        seen.chosen()


@pytest.mark.parametrize(("delay_ms", "nearest_ms"), [(0, 133), (30, 166)])
def test_the_state_that_was_measured_nearest_to_the_frames_is_taken(
    delay_ms: int, nearest_ms: int
) -> None:
    seen = Seen()
    for now_ms in (100, 133, 166, 199):
        seen.tick(now_ms, now_ms / 1000, delay_ms=delay_ms)
    seen.frames("laptop", 140)
    seen.frames("phone", 150)
    sensed = seen.sync.snapshot(200 * MS)
    assert sensed.fields["joint_pos"].tolist() == [nearest_ms / 1000] * 3


def test_the_newest_of_everything_is_taken_where_the_contract_says_so() -> None:
    seen = Seen(rule="newest")
    for now_ms in (100, 133, 166, 199):
        seen.tick(now_ms, now_ms / 1000)
    seen.frames("laptop", 80, 113, 146)
    seen.frames("phone", 77, 110, 143)
    assert seen.chosen() == (200, {"laptop": 146, "phone": 143})
    assert seen.sync.snapshot(200 * MS).fields["joint_pos"].tolist() == [0.199] * 3


def test_frames_from_before_the_first_tick_get_its_state() -> None:
    seen = Seen()
    seen.tick(100, 0.5)
    seen.frames("laptop", 20)
    seen.frames("phone", 20)
    assert seen.sync.snapshot(100 * MS).fields["joint_pos"].tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("repeats", "moved_rad", "is_frozen"), [(10, 0.1, True), (9, 0.1, False), (10, 0.099, False)]
)
def test_equal_frames_are_a_problem_once_a_joint_has_moved(
    repeats: int, moved_rad: float, is_frozen: bool
) -> None:
    buffer = Seen().sync.frames["laptop"]
    buffer.add(frame_with(1), 0)
    buffer.note_joints(np.zeros(3))
    for time_ms in range(1, repeats + 1):
        buffer.add(frame_with(1), time_ms * MS)
        buffer.note_joints(np.array([0.0, -moved_rad, 0.0]))
    assert bool(buffer.problem) is is_frozen
