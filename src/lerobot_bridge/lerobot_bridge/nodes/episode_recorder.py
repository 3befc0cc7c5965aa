# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Records demonstrations and evaluations: one rosbag2 folder (mcap) for each episode.

    episode_recorder --ros-args -p mapping:=so101 -p output:=pick_cube -p task:="Pick the cube"
    ros2 service call /episode_recorder/start std_srvs/srv/Trigger

Services (std_srvs/Trigger): `~/start`, `~/stop`, `~/discard`, `~/next`, `~/success`, `~/failure`,
`~/finish`; (std_srvs/SetBool) `~/intervention`. Subscribes to the mapping's topics, and to
`intervention` (std_msgs/Bool). Publishes `episode_marks` (policy_msgs/EpisodeMark), `~/status`
and `/diagnostics` (diagnostic_msgs/DiagnosticArray). `lerobot_bridge convert` makes datasets from
the recordings.
"""
# run: episode_recorder: {ready: episode_recorder}
# run: ros2 service call:
# run:   needs: ros2
# run:   before: |
# run:     arm_sim_node &
# run:     act_policy_node --ros-args -p bundle:=so101_reach &
# run:     episode_recorder --ros-args -p mapping:=so101_reach -p output:=pick_cube -p task:=reach &
# run:     until robot_operator stand; do sleep 1; done
# run:   swap: {ros2 service: until ros2 service}
# run:   short: '| grep success=True; do sleep 1; done'

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from policy_msgs.msg import EpisodeMark, JointCommand, PolicyStatus
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from lerobot_bridge.episode import EpisodeSidecar, Mark
from lerobot_bridge.mapping_file import load_mapping, shipped
from lerobot_bridge.nodes.listening import Listening
from lerobot_bridge.nodes.message_check import make_judges
from lerobot_bridge.nodes.recorder_status import RecorderStatus
from lerobot_bridge.recording.disk import Disk
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.recorder import FROM_TOPIC, Recorder
from lerobot_bridge.recording.session import Course, RecordingSession
from lerobot_bridge.recording.watches import PolicyWatch, Watch, wanted_topics
from policy_core.errors import PolicyError, RefusedError
from policy_inference.nodes import qos
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import ServedNode, serve_node

PARAMETERS = (
    Spec(
        name="mapping",
        type=str,
        required=True,
        doc="Mapping of topics to features: a file, or the name of an included mapping",
    ),
    Spec(
        name="output",
        type=str,
        required=True,
        doc="Folder of the session; new episodes are added to an existing session with the same "
        "mapping",
    ),
    Spec(name="task", type=str, required=True, doc="The task, in a sentence"),
    Spec(name="tags", type=str, default="", doc="Tags of the episodes: red,left_arm"),
    Spec(
        name="episodes",
        type=int,
        default=50,
        minimum=1,
        doc="Total number of episodes in the folder, including those from earlier sessions",
    ),
    Spec(
        name="warm_up_s",
        type=float,
        default=5.0,
        minimum=0.0,
        doc="Time before the first episode if auto is true, s",
    ),
    Spec(
        name="episode_s",
        type=float,
        default=30.0,
        minimum=0.1,
        doc="Longest duration of an episode, s",
    ),
    Spec(name="reset_s", type=float, default=1.0, minimum=0.0, doc="Time between episodes, s"),
    Spec(
        name="auto",
        type=bool,
        default=True,
        doc="True: episodes follow each other automatically after ~/start",
    ),
    Spec(
        name="extra_topics",
        type=str,
        default="",
        doc="Topics to record besides the mapping's, such as tf_static,wrench",
    ),
    Spec(
        name="policy_node",
        type=str,
        default="",
        doc="Node of the policy that drives (evaluation); empty if a person drives",
    ),
    Spec(
        name="min_free_mb",
        type=float,
        default=500.0,
        minimum=0.0,
        doc="Disk space to leave free, MB",
    ),
    Spec(
        name="buffer_mb",
        type=float,
        default=256.0,
        minimum=1.0,
        doc="Memory for messages that wait for a slow disk, MB",
    ),
)
_TICK_S = 0.05
_STATUS_S = 0.5
_SWITCH_INTERVAL_S = 0.0005
"""Maximum time for which another thread may delay the one that takes messages, s."""
_MARKS = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_SAID = {
    Mark.START: "begins",
    Mark.STOP: "is over",
    Mark.DISCARD: "is discarded",
    Mark.SUCCESS: "is a success",
    Mark.FAILURE: "is a failure",
    Mark.INTERVENTION_BEGINS: "is driven by a person",
    Mark.INTERVENTION_ENDS: "is driven by the policy",
}
_DONE = {PolicyStatus.SUCCESS_AWAITED: False, PolicyStatus.SUCCESS_REACHED: True}
_MODES = {
    getattr(JointCommand, name): name.removeprefix("MODE_")
    for name in (
        "MODE_DAMP",
        "MODE_STAND",
        "MODE_READY",
        "MODE_RUN",
        "MODE_HOLD",
        "MODE_HOLD_MEASURED",
        "MODE_TORQUE_OFF",
    )
}


class EpisodeRecorder(ServedNode):
    """Handles requests, while one thread takes the messages and another writes them."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read the parameters and open the session.

        Args:
            overrides: Parameters that override the process's own.
        """
        super().__init__("episode_recorder", PARAMETERS, overrides)
        values = self.values
        file = shipped().get(values["mapping"], Path(values["mapping"]))
        mapping = load_mapping(file)
        output = Path(values["output"]).expanduser().absolute()
        try:
            self._folder = SessionFolder(output, mapping, file.read_bytes())
        except OSError as error:
            raise PolicyError(
                f"{output}: expected a writable folder, found: "
                f"{error.strerror}; choose another output"
            ) from error
        node = values["policy_node"].rstrip("/")
        wanted = wanted_topics(mapping, _words(values["extra_topics"]), node)
        judges = make_judges(mapping)
        watches = [
            Watch(
                each, self.resolve_topic_name(each.topic), time.monotonic_ns, judges.get(each.topic)
            )
            for each in wanted
        ]
        policy = PolicyWatch(self.resolve_topic_name(node), time.monotonic_ns) if node else None
        self._task, self._tags = values["task"], _words(values["tags"])
        self._marks = self.create_publisher(EpisodeMark, "episode_marks", _MARKS)
        self._disk = Disk(round(values["buffer_mb"] * 1e6))
        self.recorder = Recorder(
            Course(
                **{
                    name: values[name]
                    for name in ("episodes", "warm_up_s", "episode_s", "reset_s", "auto")
                },
                judged=policy is not None,
            ),
            EpisodeSidecar(number=0, task=self._task, tags=self._tags, rate_hz=mapping.rate_hz),
            values["min_free_mb"],
            self._folder,
            self._disk,
            {watch.name: watch for watch in watches},
            policy,
            self._mark,
        )
        self._status = RecorderStatus(self, self.recorder, self._folder, self._disk)
        self._create_requests()
        if policy:
            self.create_subscription(PolicyStatus, f"{node}/status", self._on_policy, qos.STATUS)
        self._listening = Listening(self, watches, self._arrived)
        # on the steady clock: the recorder must not stop when a simulator pauses
        for period_s, act in ((_TICK_S, self._tick), (_STATUS_S, self._status.publish)):
            self.create_timer(period_s, act, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._log_session()

    @property
    def problem(self) -> str:
        """The reason that the recorder cannot continue; empty if it can."""
        if self._listening.works and self._disk.works:
            return ""
        return "a thread that takes or writes messages has ended; the node exits"

    def close(self) -> None:
        """Keep the episode being recorded, write all waiting messages, and end."""
        with self.recorder.at() as session:
            session.finish(self.now_ns(), "the node was ended")
        self._listening.close()
        if not self._disk.close():
            self.get_logger().error(
                f"{self._folder.path}: the disk did not answer in time; unwritten messages are lost"
            )
        self._tick()
        self._folder.close()

    def now_ns(self) -> int:
        """The ROS time, ns; the node uses no other clock."""
        return int(self.get_clock().now().nanoseconds)

    def _log_session(self) -> None:
        folder, session = self._folder, self.recorder.session
        for unfinished in folder.unfinished:
            self.get_logger().warning(
                f"{unfinished}: an earlier recording did not finish here; `mcap recover` may "
                "save its messages; nothing is deleted"
            )
        self.get_logger().info(
            f"{folder.path}: {session.done} of {session.course.episodes} episodes exist; "
            f"{self.get_fully_qualified_name()}/start begins the next one"
        )

    def _create_requests(self) -> None:
        requests: dict[str, Callable[[RecordingSession, int], str]] = {
            "start": RecordingSession.start,
            "stop": RecordingSession.stop,
            "discard": RecordingSession.discard,
            "next": RecordingSession.next,
            "finish": RecordingSession.finish,
            "success": lambda session, now_ns: session.judge(True, now_ns),
            "failure": lambda session, now_ns: session.judge(False, now_ns),
        }
        for name, act in requests.items():
            self.create_service(
                Trigger, f"~/{name}", partial(self._on_request, act), qos_profile=qos.REQUESTS
            )
        self.create_service(
            SetBool, "~/intervention", self._on_intervention, qos_profile=qos.REQUESTS
        )
        self.create_subscription(Bool, "intervention", self._on_driving, 10)

    def _on_request(
        self,
        act: Callable[[RecordingSession, int], str],
        _: Trigger.Request,
        response: Trigger.Response,
    ) -> Trigger.Response:
        try:
            with self.recorder.at() as session:
                response.message = act(session, self.now_ns())
            response.success = True
        except RefusedError as error:
            response.message = str(error)
            self.get_logger().warning(f"refused: {error}")
        self._status.publish()
        return response

    def _on_intervention(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        with self.recorder.at() as session:
            session.intervene("service", request.data, self.now_ns())
            response.message = "a person drives" if session.intervening else "no person drives"
        response.success = True
        return response

    def _on_driving(self, message: Bool) -> None:
        with self.recorder.at() as session:
            session.intervene(FROM_TOPIC, message.data, self.now_ns())

    def _on_policy(self, status: PolicyStatus) -> None:
        mode = _MODES.get(status.mode, str(status.mode))  # newer policy nodes may have more modes
        with self.recorder.at():
            self.recorder.policy_said(
                mode,
                status.reason,
                status.bundle_name,
                status.bundle_version,
                self.now_ns(),
                _DONE.get(status.success),
            )

    def _arrived(self, topic: str, data: bytes) -> None:
        with self.recorder.at():
            self.recorder.arrived(topic, self.now_ns(), data)

    def _tick(self) -> None:
        with self.recorder.at():
            said = self.recorder.tick(self.now_ns())
        for line in said:
            if line.failed:
                self.get_logger().error(line.text)
            else:
                self.get_logger().info(line.text)

    def _mark(self, kind: Mark, number: int, now_ns: int) -> None:
        mark = EpisodeMark(kind=int(kind), episode=number, task=self._task, tags=self._tags)
        mark.stamp.sec, mark.stamp.nanosec = divmod(now_ns, 1_000_000_000)
        self._marks.publish(mark)
        self.get_logger().info(f"episode {number} {_SAID[kind]}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def main(args: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if args is None else args)
    refuse_arguments("episode_recorder", __doc__, PARAMETERS, given)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    sys.exit(serve_node("episode_recorder", EpisodeRecorder, given))


if __name__ == "__main__":
    main()
