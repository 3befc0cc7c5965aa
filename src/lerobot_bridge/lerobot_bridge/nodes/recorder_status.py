# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The status of the episode recorder, on `~/status` and `/diagnostics`."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lerobot_bridge.recording.disk import Disk
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.recorder import Recorder
from lerobot_bridge.recording.session import State
from policy_inference.nodes import qos


class RecorderStatus:
    """Publishes the state, counts, rates and free space, identically on both topics."""

    def __init__(self, node: Node, recorder: Recorder, folder: SessionFolder, disk: Disk) -> None:
        self._node, self._recorder, self._folder, self._disk = node, recorder, folder, disk
        self._publishers = (
            node.create_publisher(DiagnosticArray, "~/status", qos.STATUS),
            node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS),
        )

    def publish(self) -> None:
        now = self._node.get_clock().now()
        found = DiagnosticArray(status=[self._status(now.nanoseconds)])
        found.header.stamp = now.to_msg()
        for publisher in self._publishers:
            publisher.publish(found)

    def _status(self, now_ns: int) -> DiagnosticStatus:
        with self._recorder.at() as session:
            problems = [
                *self._recorder.problems.values(),
                *filter(None, [session.waits_for, self._recorder.gone]),
            ]
            what = f"episode {session.number}: " if session.state is State.EPISODE else ""
            writing = f", {len(session.writing)} being written" if session.writing else ""
            seconds = session.seconds_left(now_ns)
            values = {
                "state": session.state.value,
                "episode": str(session.number),
                "done": str(session.done),
                "being_written": str(len(session.writing)),
                "episodes": str(session.course.episodes),
                "seconds_left": f"{seconds:.1f}",
                "intervention": str(session.intervening),
                "messages": str(self._recorder.messages),
                "lost": str(self._disk.lost),
                "waiting_mb": f"{self._disk.waiting_bytes / 1e6:.1f}",
                "free_mb": self._free_mb(),
                "folder": str(self._folder.path),
                "last": str(self._disk.last or ""),
                **{
                    f"rate_hz.{name}": f"{watch.rate_hz(now_ns):.1f}"
                    for name, watch in self._recorder.watches.items()
                },
                **{
                    f"not_received.{name}": str(lost)
                    for name, lost in self._recorder.not_received.items()
                },
            }
        text = (
            f"{what}{session.state.value}, {seconds:.0f} s left"
            if seconds
            else (
                f"{session.state.value}, {session.done} of {session.course.episodes} "
                f"episodes{writing}"
            )
        )
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if problems else DiagnosticStatus.OK,
            name=f"{self._node.get_fully_qualified_name()}: episodes",
            message="; ".join([text, *problems]),
            hardware_id="",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _free_mb(self) -> str:
        try:
            return f"{self._folder.free_bytes() / 1e6:.0f}"
        except OSError as error:
            return error.strerror or "unknown"
