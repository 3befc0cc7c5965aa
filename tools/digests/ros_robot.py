# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The other side of a policy node's topics and services, and the world of its process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.digests.digest import CaseError
from tools.digests.messages import decode_command, output_of
from tools.digests.texts import ROOT

_WITHIN_S = 120.0
"""For anything of another process; nothing is judged by it, an idle machine takes milliseconds."""


def prepare_environment(folder: Path) -> None:
    """Make this process and those that it starts independent of the user and of the machine.

    Args:
        folder: Empty; for homes, the registration of the seeded back end, and the DDS profile.
    """
    plugin = folder / "plugin" / "seeded_backend-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: seeded-backend\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text(
        "[policy_inference.backends]\nseeded = tools.digests.seeded_backend:SeededBackend\n"
    )
    paths = [str(plugin.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    sys.path.append(str(plugin.parent))
    profile = str(ROOT / "test" / "fast_dds.xml")
    domain = os.environ.get("ROS_DOMAIN_ID") or str(1 + os.getpid() % 101)
    os.environ.update(
        {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "ROS_DOMAIN_ID": domain,
            **(
                {"ROS_LOCALHOST_ONLY": "1"}
                if os.environ.get("ROS_DISTRO") == "humble"
                else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            ),
            "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
            "FASTDDS_DEFAULT_PROFILES_FILE": profile,
            "ROS_HOME": str(folder / "ros"),
            "POLICY_INFERENCE_MODELS": str(folder / "models"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "COLUMNS": "1000",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
    )
    os.environ.pop("POLICY_INFERENCE_PUBLIC_KEY", None)


class RosRobot:
    """A robot as a policy node sees it: topics in lockstep, services, published bytes.

    Sensors of a tick are published first, then the time; the answer is the command of that time.
    """

    def __init__(self, node_command: str, parameters: Mapping[str, Any], folder: Path) -> None:
        """Start the node as a process, and this side of its topics.

        Args:
            node_command: `joint_policy_node` or `act_policy_node`.
            parameters: ROS parameters beside `use_sim_time`.
            folder: For the log.
        """
        import rclpy
        from policy_msgs.msg import PolicyStatus
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile

        self._name, self._rclpy = node_command, rclpy
        words = [node_command, "--ros-args"]
        for key, value in {"use_sim_time": True, **parameters}.items():
            words += ["-p", f"{key}:={json.dumps(value)}"]
        self._log = folder / f"{node_command}.log"
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("digests", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, tuple[Any, Any]] = {}
        self.commands: list[bytes] = []
        self.chunks: list[bytes] = []
        self._status: Any = None
        self._changed = threading.Condition()
        every = QoSProfile(depth=1000)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscribe = self.node.create_subscription
        self._output = str(parameters.get("output", "joint_command"))
        topic, message = output_of(self._output)
        subscribe(message, topic, self._on_command, every, raw=True)
        subscribe(PolicyStatus, f"{node_command}/status", self._on_status, latched)
        if node_command == "act_policy_node":
            from policy_msgs.msg import ActionChunk

            subscribe(ActionChunk, "action_chunk", self._on_chunk, every, raw=True)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._ends = False
        self._thread.start()

    def __enter__(self) -> RosRobot:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the node, then this side."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_WITHIN_S)
        finally:
            self._process.kill()
            self._ends = True
            self._thread.join()
            self._executor.shutdown()
            self.node.destroy_node()
            self._rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        while not self._ends:
            self._executor.spin_once(timeout_sec=0.05)

    def publish(self, topic: str, message: Any) -> None:
        """Publish a message on a topic; the first one makes the publisher."""
        self.advertise(topic, type(message))
        self._publishers[topic].publish(message)

    def advertise(self, topic: str, kind: type[Any]) -> None:
        """Make the publisher of a topic, unless there is one; `meet` waits for its subscriber."""
        from rclpy.qos import QoSProfile

        if topic not in self._publishers:
            make = self.node.create_publisher
            self._publishers[topic] = make(kind, topic, QoSProfile(depth=1))

    def meet(self, show: Callable[[], None], inputs: int) -> None:
        """Show the same time until node and robot know each other and the node has its inputs.

        Args:
            show: Publishes sensors and time.
            inputs: How many inputs the node has.
        """
        self._repeat(show, lambda: self._met(inputs))
        for name in ("stand", "run", "reset", "estop"):
            self._client(name)
        # One that holds what was measured commands nothing before it is asked to.
        self.ask("damp")
        self._repeat(show, lambda: bool(self.commands))
        # Answers to times that were shown again are still on their way, and those of later ones
        # begin behind them.
        self._settle()

    def _repeat(self, show: Callable[[], None], reached: Callable[[], bool]) -> None:
        for _ in range(round(_WITHIN_S / 0.1)):
            show()
            if self._await(reached, 0.1):
                return
        raise CaseError(f"{self._name}: expected that it ticks, found that it does not\n{self.log}")

    def _met(self, inputs: int) -> bool:
        known = self._status is not None and len(self._status.inputs) == inputs
        subscribed = all(p.get_subscription_count() for p in self._publishers.values())
        return (
            known
            and subscribed
            and all(entry.publishers == 1 and entry.ok for entry in self._status.inputs)
        )

    def _settle(self) -> None:
        count = -1
        while count != len(self.commands):
            count = len(self.commands)
            self._await(lambda: False, 0.5)
        self.commands.clear()
        self.chunks.clear()

    def tick(self, show: Callable[[], None]) -> dict[str, Any]:
        """Show one time and wait for its command, which is returned decoded.

        Args:
            show: Publishes sensors and time.
        """
        before = len(self.commands)
        show()
        if not self._await(lambda: len(self.commands) > before, _WITHIN_S):
            raise CaseError(f"{self._name}: expected a command, found none\n{self.log}")
        return decode_command(self.commands[-1], self._output)

    def press_estop(self, message: Any) -> None:
        """Publish on `estop`, and wait for the command that it makes at once."""
        before = len(self.commands)
        self.publish("estop", message)
        if not self._await(lambda: len(self.commands) > before, _WITHIN_S):
            raise CaseError(f"{self._name}: expected a command, found none\n{self.log}")

    def record(self) -> None:
        """Let the node record all ticks from now on, as soon as it writes nothing else."""
        from std_srvs.srv import SetBool

        ends_s = time.monotonic() + _WITHIN_S
        while not (said := self.ask("record_run", SetBool.Request(data=True))).startswith("yes"):
            if time.monotonic() > ends_s:
                raise CaseError(f"{self._name}: expected a recording, found {said}\n{self.log}")
            time.sleep(0.05)

    def end_record(self) -> None:
        """End what `record` began; it is whole by the time that the node has ended."""
        from std_srvs.srv import SetBool

        self.ask("record_run", SetBool.Request(data=False))

    def ask(self, name: str, request: Any = None) -> str:
        """Call a service of the node; return its answer as text: `yes: RUN`, `no: why not`."""
        client, kind = self._client(name)
        answered = threading.Event()
        future = client.call_async(request or kind.Request())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(_WITHIN_S):
            raise CaseError(f"{self._name}: expected an answer to {name}, found none\n{self.log}")
        answer = future.result()
        return f"{'yes' if answer.success else 'no'}: {answer.message}"

    def _client(self, name: str) -> tuple[Any, Any]:
        """Return the client of a service, which is made once: requests must not wait for it."""
        from policy_msgs.srv import LoadBundle
        from std_srvs.srv import SetBool, Trigger

        if name not in self._clients:
            kind = {"load": LoadBundle, "record_run": SetBool}.get(name, Trigger)
            client = self.node.create_client(kind, f"{self._name}/{name}")
            if not client.wait_for_service(_WITHIN_S):
                raise CaseError(
                    f"{self._name}: expected the service {name}, found none\n{self.log}"
                )
            self._clients[name] = client, kind
        return self._clients[name]

    def counters(self, wanted: Callable[[Any], bool]) -> dict[str, int]:
        """Return the guard's counters of the next status that is wanted, which a request makes."""
        if not self._await(lambda: wanted(self._status), _WITHIN_S):
            raise CaseError(f"{self._name}: expected a status, found {self._status}\n{self.log}")
        return {entry.name: int(entry.count) for entry in self._status.guard_counters}

    @property
    def log(self) -> str:
        """What the node printed so far."""
        return self._log.read_text("utf-8", errors="replace")

    def _await(self, reached: Callable[[], bool], within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: reached() or self._has_ended(), within_s)

    def _has_ended(self) -> bool:
        if self._process.poll() is None:
            return False
        raise CaseError(f"{self._name}: ended with {self._process.returncode}\n{self.log}")

    def _on_command(self, data: bytes) -> None:
        with self._changed:
            self.commands.append(bytes(data))
            self._changed.notify_all()

    def _on_chunk(self, data: bytes) -> None:
        with self._changed:
            self.chunks.append(bytes(data))

    def _on_status(self, message: Any) -> None:
        with self._changed:
            self._status = message
            self._changed.notify_all()
