# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sessions without ROS: a mapping with one topic, and a recorder that a test feeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.recording.disk import Disk, News
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.recorder import Recorder, RecordingSettings
from lerobot_bridge.recording.session import Course
from lerobot_bridge.recording.watches import PolicyWatch, Watch, wanted_topics
from policy_core.bundle.schema import parse_yaml
from testkit.waiting import until

TEXT = b"""
schema_version: 1
robot_type: one_topic
rate_hz: 10
vectors:
  observation.state:
    - {topic: values, type: std_msgs/msg/Float64MultiArray, fields: {x.vel: "data[0]"}}
"""
MAPPING = parse_mapping(parse_yaml(TEXT, "one_topic.yaml"), "one_topic.yaml")
TOPIC = "/values"
MS = 1_000_000


class Fed:
    """A recorder whose clock and topic a test has in its hands; 100 messages a second."""

    def __init__(
        self,
        folder: Path,
        *,
        buffer_mb: float = 64.0,
        min_free_mb: float = 0.0,
        message_bytes: int = 64,
        evaluates: bool = False,
        **course: object,
    ) -> None:
        self.folder = SessionFolder(folder, MAPPING, TEXT)
        self.disk = Disk(round(buffer_mb * 1e6))
        self.watch = Watch(wanted_topics(MAPPING)[0], TOPIC, lambda: self.now_ns)
        self.watch.publishers, self.watch.kind = ["/robot"], "std_msgs/msg/Float64MultiArray"
        self.now_ns, self.sent = 0, 0
        self.data = _array_on_the_wire(message_bytes)
        self.policy = PolicyWatch("/policy", lambda: self.now_ns) if evaluates else None
        self.said: list[News] = []
        self.recorder = Recorder(
            Course(**{"auto": False, **course}),  # type: ignore[arg-type]  # a test's own
            RecordingSettings(task="Wave.", rate_hz=10, min_free_mb=min_free_mb),
            self.folder,
            self.disk,
            {TOPIC: self.watch},
            self.policy,
            lambda *_: None,
        )

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ns += 10 * MS
            self.sent += 1
            self.recorder.arrived(TOPIC, self.now_ns, self.data)

    def tick(self) -> None:
        self.said += self.recorder.tick(self.now_ns)

    def start(self) -> None:
        self.send()
        with self.recorder.at() as session:
            session.start(self.now_ns)

    def stop(self) -> str:
        with self.recorder.at() as session:
            return session.stop(self.now_ns)

    def hears(self, text: str) -> str:
        def said() -> bool:
            self.tick()
            return text in self.all_said

        until(said)
        return self.all_said

    @property
    def all_said(self) -> str:
        return "\n".join(news.text for news in self.said)

    def close(self) -> None:
        assert self.disk.close()
        self.tick()
        self.folder.close()


def _array_on_the_wire(size: int) -> bytes:
    """Return a Float64MultiArray of about so many bytes, as it goes over the wire."""
    values = np.random.default_rng(1).normal(size=size // 8)
    head = np.array([0x100, 0, 0, len(values), 0], "<u4").tobytes()
    return head + values.astype("<f8").tobytes()
