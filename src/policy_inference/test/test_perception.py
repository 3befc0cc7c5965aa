# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Height scans of elevation maps as they come: layouts, ages, frames, maps that are not true."""

import json
import re
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.body import PERCEIVED_LABEL
from policy_core.bundle.height_scan import HeightScan
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Mode
from policy_inference.messages.elevation import sampled_heights
from policy_inference.messages.pose import Pose, read_pose
from policy_inference.messages.readers import PerceivedReader
from policy_inference.perception import ScanSource
from testkit.kernel.robots import PERIOD_NS, Robot
from testkit.wording import check_wording

SECOND_NS = 1_000_000_000
NOW_NS = 50 * SECOND_NS
SCAN = HeightScan(
    points_m=((0.3, 0.2), (0.3, -0.2), (-0.3, 0.0)),
    origin_m=(0.0, 0.0, 0.0),
    alignment="yaw",
    heading="rotated_x",
    value="frame_minus_ground",
    offset_m=0.5,
    invalid="value",
    invalid_value=-1.0,
    max_invalid_ratio=0.4,
    map_timeout_s=0.5,
    pose_timeout_s=0.1,
    layer="elevation",
)

UPRIGHT = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)


def header(ns: int) -> Any:
    stamp = SimpleNamespace(sec=ns // SECOND_NS, nanosec=ns % SECOND_NS)
    return SimpleNamespace(stamp=stamp, frame_id="odom")


def xyz(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    return SimpleNamespace(x=x, y=y, z=z)


def grid_map(
    heights: F64,
    *,
    start: tuple[int, int] = (0, 0),
    row_major: bool = False,
    stamp_ns: int = NOW_NS,
    **change: Any,
) -> Any:
    """Return a grid_map_msgs/GridMap of cells of 0.1 m around the origin."""
    rows, columns = heights.shape
    memory = np.roll(heights, start, axis=(0, 1))
    dims = [SimpleNamespace(label=f"{name}_index") for name in ("column", "row")]
    dims[0].size, dims[1].size = columns, rows
    cells = array("f", (memory if row_major else memory.T).ravel())
    layout = SimpleNamespace(dim=dims[::-1] if row_major else dims)
    pose = SimpleNamespace(position=xyz(), orientation=UPRIGHT)
    size = {"resolution": 0.1, "length_x": 0.1 * rows, "length_y": 0.1 * columns}
    given = {
        "header": header(stamp_ns),
        "info": SimpleNamespace(pose=pose, **size),
        "layers": ["elevation"],
        "basic_layers": [],
        "data": [SimpleNamespace(layout=layout, data=cells)],
        "outer_start_index": start[0],
        "inner_start_index": start[1],
    }
    return SimpleNamespace(**{**given, **change})


def step(rows: int = 12, columns: int = 8) -> F64:
    """Return heights with a step of 0.2 m ahead to the left."""
    heights = np.zeros((rows, columns))
    heights[: rows // 2 - 1, : columns // 2 - 1] = 0.2
    return heights


def pose(x: float = 0.0, stamp_ns: int = NOW_NS, frame: str = "odom") -> Pose:
    position, turn = np.array([x, 0.0, 0.3]), np.array([0.0, 0.0, 0.0, 1.0])
    return Pose(stamp_ns=stamp_ns, frame=frame, position=position, quat_xyzw=turn)


@pytest.fixture
def source() -> ScanSource:
    return ScanSource("perception/height_scan", SCAN, frozen_after_m=0.5)


@pytest.mark.parametrize("start", [(0, 0), (5, 3), (11, 7)])
@pytest.mark.parametrize("row_major", [False, True])
def test_a_map_is_read_whatever_its_layout(
    source: ScanSource, start: tuple[int, int], row_major: bool
) -> None:
    source.take_map(grid_map(step(), start=start, row_major=row_major), NOW_NS)
    np.testing.assert_allclose(source.see(pose(), NOW_NS), [-0.4, -0.2, -0.2], atol=1e-7)


SPOILS: dict[str, Callable[[Any], Any]] = {
    "layer": lambda it: setattr(it, "layers", ["variance"]),
    "start": lambda it: setattr(it, "outer_start_index", 12),
    "cells": lambda it: setattr(it.data[0], "data", array("f", [0.0])),
    "centre": lambda it: setattr(it.info.pose.position, "x", np.nan),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_map_of_another_form_is_refused(source: ScanSource, spoil: str) -> None:
    message = grid_map(step())
    SPOILS[spoil](message)
    with pytest.raises(RobotError) as raised:
        source.take_map(message, NOW_NS)
    check_wording(str(raised.value))
    with pytest.raises(RobotError, match=re.escape(str(raised.value))):
        source.see(pose(), NOW_NS)


def test_a_scan_says_why_there_is_none(source: ScanSource) -> None:
    def refusal(pose: Pose, now_ns: int = NOW_NS) -> str:
        with pytest.raises(RobotError) as raised:
            source.see(pose, now_ns)
        return str(raised.value)

    reasons = [refusal(pose())]
    source.take_map(grid_map(step()), NOW_NS)
    source.see(pose(), NOW_NS)
    reasons.append(refusal(pose(stamp_ns=NOW_NS + 600_000_000), NOW_NS + 600_000_000))
    reasons.append(refusal(pose(frame="map")))
    reasons.append(refusal(pose(stamp_ns=NOW_NS - SECOND_NS), NOW_NS - SECOND_NS))
    for age_ns in (200_000_000, -200_000_000, 10_000_000 * SECOND_NS):
        reasons.append(refusal(pose(9.0, NOW_NS - age_ns)))
    source.take_map(grid_map(step()), NOW_NS)  # the other became too old
    source.see(pose(), NOW_NS)  # none of those counts as a jump
    holes = step()
    holes[:6] = np.nan
    late_ns = NOW_NS + SECOND_NS
    source.take_map(grid_map(holes, stamp_ns=late_ns), late_ns)
    reasons.append(refusal(pose(stamp_ns=late_ns), late_ns))
    check_wording(*reasons)


def test_a_clock_that_was_set_back_ends_what_was_awaited(source: ScanSource) -> None:
    source.take_map(grid_map(step(30)), NOW_NS)
    source.see(pose(), NOW_NS)
    with pytest.raises(RobotError):
        source.see(pose(0.5, NOW_NS + 1), NOW_NS + 1)
    source.take_map(grid_map(step(30), stamp_ns=SECOND_NS), SECOND_NS)
    source.see(pose(0.5, SECOND_NS), SECOND_NS)


def test_a_map_that_was_overtaken_by_a_newer_one_is_left_out(source: ScanSource) -> None:
    source.take_map(grid_map(step()), NOW_NS)
    values = source.see(pose(), NOW_NS).copy()
    source.take_map(grid_map(np.ones((12, 8)), stamp_ns=NOW_NS - 100_000_000), NOW_NS)
    np.testing.assert_array_equal(source.see(pose(), NOW_NS), values)


@pytest.mark.parametrize("bad", ["ahead", "late", "NaN", "another frame", "in mm", "no layer"])
def test_the_last_good_map_serves_instead_of_a_bad_one_until_it_is_too_old(
    source: ScanSource, bad: str
) -> None:
    period_ns, refusals = SECOND_NS // 10, set[str]()
    source.take_map(grid_map(step()), NOW_NS)
    values = source.see(pose(), NOW_NS).copy()
    for now_ns in range(NOW_NS + period_ns, NOW_NS + 5 * period_ns + 1, period_ns):
        skew_ns = {"ahead": 400_000_000, "late": -600_000_000}.get(bad, 0)
        heights = {"NaN": np.nan, "in mm": 1e3}.get(bad, 1.0) * step()
        message = grid_map(heights, stamp_ns=now_ns + skew_ns)
        if bad == "another frame":
            message.header.frame_id = "map"
        if bad == "no layer":
            message.layers = ["variance"]
        with suppress(RobotError):
            source.take_map(message, now_ns)
        np.testing.assert_array_equal(source.see(pose(stamp_ns=now_ns), now_ns), values)
        refusals.add(source.refusal)
    assert "" not in refusals
    now_ns += period_ns
    with pytest.raises(RobotError) as raised:
        source.see(pose(stamp_ns=now_ns), now_ns)
    check_wording(str(raised.value))
    source.take_map(grid_map(step(), stamp_ns=now_ns), now_ns)
    np.testing.assert_array_equal(source.see(pose(stamp_ns=now_ns), now_ns), values)
    assert not source.refusal


@pytest.mark.parametrize("bad", ["NaN", "another frame", "in mm"])
def test_a_bad_map_that_follows_each_good_one_starves_no_scan(source: ScanSource, bad: str) -> None:
    for now_ns in range(NOW_NS, NOW_NS + 10 * SECOND_NS // 10, SECOND_NS // 10):
        source.take_map(grid_map(step(), stamp_ns=now_ns), now_ns)
        heights = {"NaN": np.nan, "in mm": 1e3}.get(bad, 1.0) * step()
        message = grid_map(heights, stamp_ns=now_ns + 1)
        if bad == "another frame":
            message.header.frame_id = "map"
        source.take_map(message, now_ns)
        source.see(pose(stamp_ns=now_ns), now_ns)
        assert source.map_stamp_ns == now_ns
        assert source.refusal


@pytest.mark.parametrize("height_m", [11.0, -11.0, 1e30])
def test_ground_far_from_the_robot_is_refused(source: ScanSource, height_m: float) -> None:
    source.take_map(grid_map(np.full((12, 8), height_m)), NOW_NS)
    with pytest.raises(RobotError, match="ground within"):
        source.see(pose(), NOW_NS)
    with pytest.raises(RobotError, match="ground within"):
        source.take_points(cloud([0.0, height_m, 0.0]))


def cloud(z: list[float], *, big_endian: bool = False, offset: int = 8) -> Any:
    of = {"names": ["z"], "formats": [">f4" if big_endian else "<f4"], "offsets": [offset]}
    kind = np.dtype({**of, "itemsize": 20})  # type: ignore[call-overload]
    points = np.zeros(len(z), kind)
    points["z"] = z
    return SimpleNamespace(
        header=header(NOW_NS),
        width=len(z),
        height=1,
        fields=[SimpleNamespace(name="z", offset=offset, datatype=7)],
        is_bigendian=big_endian,
        point_step=20,
        row_step=20 * len(z),
        data=points.tobytes(),
    )


SEEN = {
    "cloud": cloud([0.25, -0.5, np.nan]),
    "big-endian cloud": cloud([0.25, -0.5, np.nan], big_endian=True, offset=4),
    "array": SimpleNamespace(data=array("f", [0.25, -0.5, np.nan])),
}
THREE = vars(cloud([0.1, 0.2, 0.3]))
REFUSED = {
    "two points": cloud([0.1, 0.2]),
    "none": SimpleNamespace(**{**vars(cloud([])), "height": 0}),
    "no z": SimpleNamespace(**{**THREE, "fields": []}),
    "cut off": SimpleNamespace(**{**THREE, "data": b"\0" * 59}),
}


@pytest.mark.parametrize("seen", SEEN)
def test_points_that_another_program_has_sampled_are_seen_the_same(
    source: ScanSource, seen: str
) -> None:
    np.testing.assert_array_equal(source.take_points(SEEN[seen]), [-0.75, 0.0, -1.0])


@pytest.mark.parametrize("refused", REFUSED)
def test_sampled_points_of_another_form_are_refused(refused: str) -> None:
    with pytest.raises(RobotError):
        sampled_heights(REFUSED[refused], 3)


@pytest.mark.parametrize("bad", [{"x": np.nan}, {"w": 0.5}])
def test_a_pose_that_is_none_is_refused(bad: dict[str, float]) -> None:
    position = xyz(x=bad.get("x", 0.0))
    turn = SimpleNamespace(**{**vars(UPRIGHT), "w": bad.get("w", 1.0)})
    pose = SimpleNamespace(pose=SimpleNamespace(position=position, orientation=turn))
    message = SimpleNamespace(header=header(NOW_NS), pose=pose)
    with pytest.raises(RobotError):
        read_pose(message)


TOPIC = "perception/height_scan"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "perception.md"
MAP_EVERY, SPEED_M_S = 5, 1.0
_FAULT_AT, _JUMPS_EVERY = 10, 3


class Walk:
    """A robot that walks over a map, in lockstep; one thing is wrong from a tick on."""

    def __init__(self, fault: str) -> None:
        given = {name: each for name, each in asdict(SCAN).items() if each is not None}
        term = {"term": "height_scan", "topic": TOPIC, "scan": json.loads(json.dumps(given))}
        self.robot = Robot({"observations": {"obs": {"terms": [{"term": "joint_pos"}, term]}}})
        self.source = ScanSource(TOPIC, SCAN, frozen_after_m=0.5)
        self.reader = PerceivedReader(TOPIC, self.robot.controller.state)
        self.fault, self.x, self.ticks, self.began = fault, -2.0, 0, 10**9
        self.problem = ""

    def has(self, fault: str) -> bool:
        return self.fault == fault and self.ticks >= self.began

    def tick(self) -> None:
        robot, now_ns = self.robot, self.robot.now_ns + PERIOD_NS
        self.ticks += 1
        if robot.is_in(Mode.RUN):
            self.x += SPEED_M_S * PERIOD_NS * 1e-9
        if self.ticks % MAP_EVERY == 0 and not self.has("the mapper stops"):
            self.map(now_ns)
        if not self.has("`perception_node` or the odometry stops"):
            self.perceive(now_ns)
        robot.tick(silent=[TOPIC])

    def map(self, now_ns: int) -> None:
        heights = np.zeros((60, 60))
        if not self.has("the mapper sends the same map with new stamps"):
            heights[-1, -1] = 1e-3 * self.ticks
        if self.has("the map has too many holes"):
            heights[:, :32] = np.nan
        if self.has("the map has a few holes"):
            heights[:, :29] = np.nan
        if self.has("the map's heights are in millimeters"):
            heights += 30.0
        is_tenth = self.ticks // MAP_EVERY % 10 == 0
        if self.has("every tenth map is empty") and is_tenth:
            heights[:] = np.nan
        message = grid_map(heights, stamp_ns=now_ns)
        if self.has("every tenth map is stamped 0.4 s ahead") and is_tenth:
            message.header = header(now_ns + 400_000_000)
        if self.has("the map is in the wrong frame"):
            message.header.frame_id = "map"
        if self.has("the map is shifted by 0.5 m, but the pose is not"):
            message.info.pose.position = xyz(y=0.5)
        with suppress(RobotError):
            self.source.take_map(message, now_ns)

    def perceive(self, now_ns: int) -> None:
        since = self.ticks - self.began
        x = self.x
        if self.has("the pose jumps once, by 0.5 m"):
            x += 0.5
        if self.has("the pose jumps repeatedly") and since // _JUMPS_EVERY % 2:
            x += 0.5
        label = self.robot.controller.state.perceived[TOPIC]
        if self.has("`perception_node` has a different contract"):
            label = f"{PERCEIVED_LABEL}0"
        labelled = SimpleNamespace(frame_id=label)
        message = SimpleNamespace(header=labelled, problem="", data=array("d"))
        try:
            message.data = array("d", self.source.see(pose(x, now_ns), now_ns).tobytes())
        except RobotError as error:
            message.problem = str(error)
        if self.has("another program sends NaN"):
            message.data[0] = np.nan
        entry = self.robot.controller.inputs[TOPIC]
        try:
            self.reader.read(message)
            entry.accept(now_ns)
            self.robot.sensed[f"external:{TOPIC}"] = message.data
            self.problem = ""
        except RobotError as error:
            entry.reject(str(error))
            self.problem = str(error)


FAULTS = (
    "`perception_node` or the odometry stops",
    "the mapper stops",
    "the mapper sends the same map with new stamps",
    "the map is in the wrong frame",
    "the map has a few holes",
    "the map has too many holes",
    "the map's heights are in millimeters",
    "every tenth map is empty",
    "every tenth map is stamped 0.4 s ahead",
    "the pose jumps once, by 0.5 m",
    "the pose jumps repeatedly",
    "another program sends NaN",
    "`perception_node` has a different contract",
    "the map is shifted by 0.5 m, but the pose is not",
)


def row_and_reason(fault: str) -> tuple[str, str]:
    """Return the row of the page (fault, rules, where it ends) and the reason of the message."""
    walk = Walk(fault)
    for _ in range(MAP_EVERY):
        walk.tick()
    walk.robot.controller.stand()
    while not walk.robot.is_in(Mode.READY):
        walk.tick()
    walk.robot.controller.run()
    for _ in range(_FAULT_AT):
        walk.tick()
    walk.began = walk.ticks
    problem = ""
    for _ in range(100):
        walk.tick()
        problem = problem or (walk.problem if not walk.robot.is_in(Mode.RUN) else "")
    counted = {rule: n for rule, n in walk.robot.controller.snapshot().counters.items() if n}
    rules = ", then ".join(f"`{rule}`" for rule in counted) or "none"
    ends = "DAMP" if walk.robot.is_in(Mode.DAMP) else "keeps walking"
    return f"| {fault} | {rules} | {ends} |", problem


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_perception_ends_as_the_page_says(fault: str) -> None:
    row, reason = row_and_reason(fault)
    assert row in PAGE.read_text("utf-8").splitlines()
    if reason:
        check_wording(reason)
