# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot whose ticks are recorded."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from policy_core.control.tick import Tick
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.members.joint import joint_controller
from policy_inference.flight.description import Flight, flight_settings, make_flight
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recorder import FlightOptions, FlightRecorder
from policy_inference.flight.ring import FlightTick, Ring
from policy_inference.flight.sensors import IMU, JOINT_STATES
from policy_inference.flight.tap import Tap
from testkit.edits import Edits
from testkit.kernel.contracts import bundle_of
from testkit.kernel.robots import Fields, Robot, Targets

TOPICS = (JOINT_STATES, IMU)
TYPES = message_types()
STAMP_OFFSET_NS = 7_000_000_000
"""The clock of stamps is not that of the controller."""
RING_SIZE = 30


class Flyer(Robot):
    """A robot with a ring; each tick has a message of its own on each topic."""

    def __init__(self, changes: Edits | None = None, size: int = RING_SIZE) -> None:
        super().__init__(changes)
        self.limits = limits_in_force(self.contract, StricterLimits())
        self.bundle, self.tap = bundle_of(self.contract), Tap(self.backend)
        self.controller = joint_controller(self.bundle, self.tap, self.limits, lambda: self.now_ns)
        self.ring = Ring(self.controller.latest_tick, self.tap, size)
        self.tap.show(self.ring)
        self.sent = 0

    def tick(
        self,
        sensed: Fields | None = None,
        *,
        silent: Collection[str] = (),
        **fields: Sequence[float],
    ) -> Targets | None:
        targets = super().tick(sensed, silent=silent, **fields)
        self.record()
        return targets

    def record(self) -> None:
        self.ring.record(self.sent_tick(), self.wire())

    def sent_tick(self) -> Tick:
        """Send the command of this tick; return it."""
        self.sent += 1
        tick, stamp_ns = self.controller.latest_tick, self.now_ns + STAMP_OFFSET_NS
        targets = self.controller.safe_targets()
        tick.send(targets, self.sent, stamp_ns=stamp_ns, duration_ns=1_500_000)
        return tick

    def wire(self) -> tuple[bytes | None, ...]:
        return tuple(f"{topic.name} {self.now_ns}".encode() for topic in TOPICS)

    def newest(self) -> FlightTick:
        ticks, lost = self.ring.copies(self.ring.end - 1, self.ring.end)
        assert not lost
        return ticks[0]

    def flight(self, folder: Path) -> Flight:
        """Return what the ticks are of; `folder` becomes the bundle's, and changes."""
        folder.mkdir(exist_ok=True)
        bundle = dataclasses.replace(self.bundle, path=folder, content=b"name: walker\n")
        (folder / "policy.yaml").write_text("name: put there after the bundle was read\n", "utf-8")
        return make_flight(
            bundle,
            self.backend,
            self.controller,
            TOPICS,
            settings=flight_settings(self.limits, self.backend),
        )


class Recorded(Flyer):
    def __init__(self, tmp_path: Path, **options: Any) -> None:
        super().__init__()
        self.folder = tmp_path / "flights"
        given = {"duration_s": 1.0, "after_s": 0.2, "min_free_mb": 0.0, "folder": self.folder}
        self.recorder = FlightRecorder(
            self.controller.latest_tick,
            self.tap,
            self.flight(tmp_path / "bundle"),
            lambda: TYPES,
            FlightOptions(**{**given, **options}),
        )
        self.ring = self.recorder.ring
        self.recorder.start()

    def record(self) -> None:
        self.sent_tick()
        self.recorder.observe(self.wire())

    def recordings(self) -> list[Path]:
        """Stop the recorder; return what it has written, by name."""
        self.recorder.stop(60.0)
        return visible(self.folder)


def visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*"))


Messages = dict[str, list[tuple[int, Any, bytes]]]
"""Log time, message and bytes of a recording's messages, by the last part of their topics."""


def read_flight(path: Path, decoded: str = "policy_msgs") -> Messages:
    """Return what is in a recording; messages whose type begins with `decoded` are decoded."""
    found: Messages = {}
    with AnyReader([path]) as reader:
        for connection, log_ns, data in reader.messages():
            ours = connection.msgtype.startswith(decoded)
            message = reader.deserialize(data, connection.msgtype) if ours else None
            topic = connection.topic.rpartition("/")[2]
            found.setdefault(topic, []).append((log_ns, message, bytes(data)))
    return found
