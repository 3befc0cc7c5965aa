# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot of the fleet: three processes (simulator, policy node, metrics) and an operator thread.

The thread keeps the robot walking with the version that its store names. It checks the robot a few
times a second. After a fault, it resets the node; in DAMP, it makes the robot stand up, or sets it
upright if it has fallen; in READY, it runs the policy; if the store names a new version, it makes
the robot lie down and loads that version.
"""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demos.fleet.operator import FleetOperator, Stroll
from examples.demos.fleet.servers import Network
from examples.demos.runner import LoggedProcess, free_port, start_node
from policy_core.bundle.store import ROOT_VARIABLE, current_version
from policy_core.errors import PolicyError
from policy_store.trial_record import newest_trial
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from robot_sim.world import UPRIGHT_TILT_RAD

MARK = "POLICY_INFERENCE_DEMO_FLEET"
"""Environment variable that marks all processes of the demo; a robot adds its name to the value."""
KEY_VARIABLE = "POLICY_INFERENCE_PUBLIC_KEY"
WALKING_MPS = 0.8
STANDING_M = 0.2
_LOOKED_EVERY_S = 0.3
_SILENT_S = 3.0
_FED_WITHIN_S = 180.0
"""Time limit for a node to start, which can take over a minute on a busy machine."""
_ANSWER_TIMEOUT_S = 30.0
_RESTARTED_WITHIN_S = 240.0
_SIMULATION_WAITS_S = 30.0
"""How long the simulator waits for a command: longer than any stall on a busy machine."""
_POLICY = "joint_policy_node"
_NICENESS = 5
"""Niceness of the simulator, so that installers run first; simulated time pauses meanwhile."""
# One at a time: message types import their parts on first use, and Python may find a deadlock if
# two threads import the same packages.
_JOINING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotView:
    """State of a robot at one moment, as seen from outside.

    Attributes:
        version: Version of the policy that the robot runs; empty without power or before the first
            status.
        mode: Mode of the robot's policy node; empty in the same cases.
        stage: shadow, canary or production; empty in the same cases.
        reason: Reason for the mode, as a sentence.
    """

    version: str = ""
    mode: str = ""
    stage: str = ""
    reason: str = ""


class DemoRobot:
    """A simulated Lite3 with its own store, processes and network.

    Attributes:
        name: For example `lite3_1`.
        models: Folder of the robot's installed bundles.
        payload_kg: The robot's payload.
        to_registry, to_metrics: Network connections from its installer to the registry and from
            Prometheus to its metrics.
        falls: Number of times that the robot was set upright after a fall.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        bundle: str,
        mark: str,
        public_key: Path,
        registry_port: int,
        payload_kg: float,
        speed: float,
    ) -> None:
        """Create the robot, powered off.

        Args:
            name: Name of the robot.
            folder: Folder for all its files.
            bundle: Name of the bundle that the robot runs.
            mark: Environment mark of all processes in this run of the demo.
            public_key: Public key that the robot trusts.
            registry_port: Port of the registry.
            payload_kg: The robot's payload.
            speed: Maximum simulation speed, in simulated seconds per second.
        """
        self.name, self.payload_kg = name, payload_kg
        self.folder, self.models = folder, folder / "models"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._link = folder / "link"  # exists while the robot is reachable
        self._bundle, self._speed, self._public_key = bundle, speed, public_key
        self.mark = f"{mark}.{name}"
        self.to_registry = Network(registry_port)
        self._metrics_port = free_port()
        self.to_metrics = Network(self._metrics_port)
        self.falls = 0
        self._starts, self._space = 0, ""
        self._running = dict[str, LoggedProcess]()
        self._operator: FleetOperator | None = None
        self._driver: threading.Thread | None = None
        self._off = threading.Event()
        self._asked: queue.Queue[tuple[Callable[[FleetOperator], Any], Future[Any]]] = queue.Queue()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the robot's processes and any that install bundles on it."""
        return {
            MARK: self.mark,
            ROOT_VARIABLE: str(self.models.resolve()),
            KEY_VARIABLE: str(self._public_key.resolve()),
        }

    @property
    def wanted_version(self) -> str:
        """The version that the robot's store names now; empty if none."""
        model = self.models / self._bundle
        try:
            trial = newest_trial(model)
            if trial is not None and trial.nodes_take_it:
                return trial.version
            return current_version(model) or ""
        except PolicyError:
            return ""

    @property
    def view(self) -> RobotView:
        """The robot's current state, as seen from outside."""
        operator = self._operator
        if operator is None or time.monotonic() - operator.received_s > _SILENT_S:
            return RobotView()
        status = operator.status
        trials = [one for one in status.trial if one.state in ("open", "passed")]
        stage = "production"
        if any(one.version == status.bundle_version for one in trials):
            stage = "canary"
        elif status.shadow:
            stage = "shadow"
        return RobotView(
            version=status.bundle_version, mode=operator.mode, stage=stage, reason=status.reason
        )

    def power_on(self) -> None:
        """Start the robot's processes and its operator thread."""
        self._starts += 1
        self._link.touch()
        # a new one for each start: the node names of killed processes remain known for a while
        self._space = f"{self.name}/start_{self._starts}"
        self._start(
            "sim_node",
            {
                "lockstep": True,
                "lockstep_speed": self._speed,
                "answer_timeout_s": _SIMULATION_WAITS_S,
                "payload_kg": self.payload_kg,
            },
        )
        self._start_policy("")
        self._start("robot_metrics", {"port": self._metrics_port, "robot": self.name})
        self._off = threading.Event()
        self._driver = threading.Thread(
            target=self._drive, args=(self._space, self._off), name=f"driver of {self.name}"
        )
        self._driver.start()

    def restart_policy(self, shadow: str) -> None:
        """Make the robot lie down, and restart its policy node.

        Args:
            shadow: Bundle that runs as the policy's shadow; none if empty.
        """
        self.ask(lambda operator: self._restart(operator, shadow), _RESTARTED_WITHIN_S)

    def _restart(self, operator: FleetOperator, shadow: str) -> None:
        _lie_down(operator)
        self._running.pop(_POLICY).stop()
        self._start_policy(shadow)
        operator.wait_for_new_status(_FED_WITHIN_S)

    def _start_policy(self, shadow: str) -> None:
        self._start(
            _POLICY,
            {
                "bundle": self._bundle,
                "use_sim_time": True,
                "shadow_bundle": shadow,
                "flight.folder": str((self.folder / "flights").resolve()),
                "flight.min_free_mb": 0.0,
            },
        )

    def _start(self, command: str, parameters: dict[str, Any]) -> None:
        self._running[command] = start_node(
            command,
            parameters,
            self.folder / f"{command}_{self._starts}.log",
            remappings={"__ns": f"/{self._space}", "/clock": f"/{self._space}/clock"},
            environment=self.environment,
            niceness=_NICENESS,
        )

    def cut_network(self) -> None:
        """Block all the robot's connections."""
        self._link.unlink(missing_ok=True)
        self.to_registry.cut()
        self.to_metrics.cut()

    def restore_network(self) -> None:
        """Restore the robot's connections."""
        self.to_registry.restore()
        self.to_metrics.restore()
        self._link.touch()

    @property
    def reaching_it(self) -> list[str]:
        """Prefix for commands on the robot; makes them fail while the robot is unreachable."""
        script = 'test -e "$0" || { echo "$0: cannot be reached" >&2; exit 255; }; exec "$@"'
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["sh", "-c", script, str(self._link.resolve()), "env", *variables]

    def power_cut(self) -> int:
        """Kill all the robot's processes at once, including installers; return their number."""
        self._link.unlink(missing_ok=True)
        count = kill_marked(self.mark)
        self._leave()
        return count

    def close(self) -> None:
        self._leave()
        self.to_registry.close()
        self.to_metrics.close()

    def ask(self, act: Callable[[FleetOperator], Any], timeout_s: float) -> Any:
        """Have the robot's operator thread call a function; return the result."""
        answer: Future[Any] = Future()
        self._asked.put((act, answer))
        try:
            return answer.result(timeout_s)
        except FutureTimeoutError:
            raise OperatorError(f"{self.name}: no answer within {timeout_s:g} s") from None

    def observe(self, duration_s: float = 1.5) -> Stroll | None:
        """Return the robot's current motion; None while simulated time is stopped."""
        try:
            stroll: Stroll = self.ask(lambda operator: operator.observe(duration_s, 30.0), 60.0)
        except OperatorError:
            return None
        return stroll

    @property
    def walks(self) -> bool:
        """Return whether the robot walks with the version that its store names."""
        view = self.view
        if view.mode != "RUN" or view.version != self.wanted_version:
            return False
        seen = self.observe()
        if seen is None:
            return False
        fast = seen.distance_m > 0.5 * WALKING_MPS * seen.duration_s
        return fast and seen.lowest_m > STANDING_M and self.view.mode == "RUN"

    def _leave(self) -> None:
        self._off.set()
        if self._driver is not None:
            self._driver.join()
            self._driver = None
        while self._running:
            _, process = self._running.popitem()  # last first: the policy node shuts the robot down
            process.stop()

    def _drive(self, space: str, off: threading.Event) -> None:
        def watch() -> None:
            if off.is_set():
                raise OperatorError(f"{self.name}: without power")

        with _JOINING:
            operator = FleetOperator(space, answer_timeout_s=_ANSWER_TIMEOUT_S, watch=watch)
        with operator:
            with suppress(OperatorError):
                operator.wait_for_robot(_FED_WITHIN_S)
                self._operator = operator
            while not off.wait(_LOOKED_EVERY_S):
                self._answer(operator)
                with suppress(OperatorError):  # refused, or late: the next check tries again
                    self._operator = operator if operator.received_s else None
                    if self._operator is not None:
                        self._look(operator)
            self._operator = None
        self._refuse()

    def _answer(self, operator: FleetOperator) -> None:
        while True:
            try:
                act, answer = self._asked.get_nowait()
            except queue.Empty:
                return
            try:
                answer.set_result(act(operator))
            except (OperatorError, SimError) as error:
                answer.set_exception(error)

    def _refuse(self) -> None:
        with suppress(queue.Empty):
            while True:
                _, answer = self._asked.get_nowait()
                answer.set_exception(OperatorError(f"{self.name}: without power"))

    def _look(self, operator: FleetOperator) -> None:
        """Take the next step toward walking with the version that its store names."""
        status, mode, wanted = operator.status, operator.mode, self.wanted_version
        if status.latched:
            operator.let_go()
            operator.demand("reset")
        elif wanted and status.bundle_version != wanted:
            if mode != "DAMP":  # while it stands, a version with different limits is refused
                _lie_down(operator)
            operator.load(self._bundle)
        elif mode == "DAMP" and operator.tilt_rad() > UPRIGHT_TILT_RAD:
            operator.set_upright()
            self.falls += 1
        elif mode == "DAMP":
            operator.stand()
        elif mode == "READY":
            operator.demand("run")
        elif mode == "RUN":
            operator.move(WALKING_MPS)


def _lie_down(operator: FleetOperator) -> None:
    operator.let_go()
    if operator.mode in ("RUN", "HOLD"):
        operator.demand("stand")
        operator.wait_for_mode("READY")
    operator.demand("damp")


def kill_marked(mark: str) -> int:
    """Kill all processes whose environment has this mark, alone or followed by a dot and a name.

    Returns:
        The number of processes killed, including those that they started in the meantime.
    """
    killed = set[int]()
    while found := set(_marked(mark)) - killed:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        killed |= found
    return len(killed)


def _marked(mark: str) -> Iterable[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            entries = (folder / "environ").read_bytes().split(b"\0")
            if any(one == wanted or one.startswith(wanted + b".") for one in entries):
                yield int(folder.name)
