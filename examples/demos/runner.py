# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What all demos share: options, nodes as processes, and a results folder."""

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from model_tools.prove.replaying.invariants import check_flight
from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.errors import PolicyError, printable
from policy_core.observation.state import RobotState
from policy_inference.commands.sensing import ESTIMATOR_NODE, sensing_nodes
from policy_inference.worker_process import ProcessGroup, WorkerProcess
from policy_store.command_line import (
    CommandParser,
    CommandResult,
    add_backend_options,
    add_json,
    describe_error,
    show_result,
)
from robot_sim.errors import SimError

LOOPBACK = "127.0.0.1"
SUMMARY, FLIGHTS = "summary.json", "flights"
_INTERRUPTED = 130
_TIME_TO_LEAVE_S, _TIME_TO_STOP_S = 10.0, 60.0
_LINES_SHOWN = 15
progress = logging.getLogger("demos")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """Result of a demo.

    Attributes:
        summary: Content of summary.json; `run_demo` adds the back end.
        backend: Name of the back end that ran; "" if the demo does not choose one.
        fallback: Why each earlier back end in the list did not open, one line each.
        table: The summary as text.
        failure: The reason that the demo failed; None if it succeeded.
        draw: Function that writes images into the results folder.
    """

    summary: Mapping[str, Any]
    backend: str = ""
    fallback: str = ""
    table: str
    failure: str | None
    draw: Callable[[], None]


def demo_parser(name: str, description: str | None, *, backend_options: bool) -> CommandParser:
    """Return a parser with the options of all demos; the default results folder is out/NAME."""
    parser = CommandParser(prog=f"python -m examples.demos.{name}", description=description)
    add_json(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("out", {"walk": "demo", "policy_set": "demo-set"}.get(name, f"demo-{name}")),
        help="folder for results; results of an earlier run are replaced (default: %(default)s)",
    )
    if backend_options:
        parser.add_argument(
            "--backend", default="onnx", help="back end, or several in order of preference: a,b"
        )
        add_backend_options(parser)
    return parser


def require_velocity_source(bundle: str, *, lockstep: bool, driver: str | None = None) -> None:
    """Raise a SimError unless the demo can provide base_lin_vel from the contract's own source.

    Args:
        bundle: The bundle to run.
        lockstep: True if the simulator waits for each command.
        driver: Name of the driver if the robot is behind one, which measures no velocity.
    """
    found = load_bundle(bundle, kind=Bundle)
    contracts = [policy.contract for policy in list_policies(found)]
    if any(contract.estimation for contract in contracts):
        if lockstep:
            raise SimError(
                f"{bundle}: expected real time, found lockstep: the policy's base_lin_vel is "
                "estimated from 200 sensor messages per second, but lockstep sends one per tick; "
                "leave out --lockstep, or walk with `model_tools evaluate`"
            )
        return
    joint_contracts = [each for each in contracts if isinstance(each, JointContract)]
    odometry = [each.name for each in joint_contracts if "odom" in RobotState(each).inputs]
    if odometry and driver is not None:
        raise SimError(
            f"{bundle}: expected a policy whose velocity {driver} measures or that is estimated, "
            f"found {odometry[0]}, which reads odom, and {driver} publishes none; import it again "
            "with --estimator (docs/estimation.md)"
        )
    for contract in joint_contracts:
        for key in contract.unstated_sources:
            progress.warning(
                "%s: expected estimator or measured, found none: the simulator's true velocity is "
                "used, which a real robot does not know",
                key,
            )


def start_estimator(nodes: "Processes", bundle: str, output: Path) -> dict[str, str]:
    """Start velocity_estimator_node if the bundle's contract needs it.

    Returns:
        The simulated robot's remappings: its own, true odometry then has another name.
    """
    if ESTIMATOR_NODE not in sensing_nodes(bundle):
        return {}
    nodes.start(ESTIMATOR_NODE, {"bundle": bundle}, output / f"{ESTIMATOR_NODE}.log")
    return {"odom": "perception/odom"}


def add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-images",
        action="store_false",
        dest="images",
        help="write no plots and no video; the video takes longer than the simulation",
    )


def run_demo(
    name: str,
    given: argparse.Namespace,
    files: Sequence[str],
    demonstrate: Callable[[argparse.Namespace], DemoOutcome],
    require_bundle: Callable[[str], object] = bundle_folder,
) -> int:
    """Run a demo in its own ROS domain; write and print its summary.

    Args:
        name: Name of the demo, for messages.
        given: The demo's arguments, with `bundle`, `images` and the folder `output`.
        files: The demo's result files besides the summary; those of an earlier run are removed.
        demonstrate: Function that runs the demo and returns its result.
        require_bundle: Function that raises SimError or PolicyError for an unusable bundle, before
            anything is removed or started.

    Returns:
        The exit status: 0 for success, 1 if the demo failed or a recording violates an invariant, 4
        after an error, 130 after Ctrl-C.
    """
    progress.addHandler(logging.StreamHandler())
    progress.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    os.environ.update(own_domain(seed=os.getpid()))
    progress.info("%s, ROS_DOMAIN_ID %s", given.bundle, os.environ["ROS_DOMAIN_ID"])
    try:
        require_bundle(given.bundle)  # a misspelled name must not cost earlier results
        given.output.mkdir(parents=True, exist_ok=True)
        for file in (SUMMARY, *files):
            (given.output / file).unlink(missing_ok=True)
        found = demonstrate(given)
        failures = [*filter(None, [found.failure]), *_violated(given.output)]
        unopened = found.fallback.splitlines()
        ran = {"backend": found.backend, "fallback": unopened} if found.backend else {}
        summary = {**ran, **found.summary}
        (given.output / SUMMARY).write_text(f"{json.dumps(summary, indent=2)}\n", "utf-8")
        if given.images:
            found.draw()
    except PolicyError as error:
        progress.error("%s: %s", name, error)
        return PolicyError.exit_status
    except OSError as error:
        progress.error("%s: %s", name, describe_error(error))
        return PolicyError.exit_status
    except KeyboardInterrupt:
        progress.error("%s: interrupted; the nodes have exited", name)
        return _INTERRUPTED
    made = [file for file in (SUMMARY, *files) if (given.output / file).exists()]
    progress.info("%s: %s", given.output, ", ".join(made))
    show_result(CommandResult(document=summary, text=[found.table]), as_json=given.json)
    for reason in unopened:
        progress.warning("%s: ran on %s, not on %s", name, found.backend, reason)
    for failure in failures:
        progress.error("%s: %s", name, failure)
    return 1 if failures else 0


def _violated(output: Path) -> Iterator[str]:
    """Yield the flight recordings that violate an invariant, each with its violations."""
    flights = [check_flight(path) for path in sorted(output.rglob(f"{FLIGHTS}/[!.]*"))]
    for flight in flights:
        if not flight:
            yield f"{flight.recording.path} violates {', '.join(flight.counts)}: model_tools check"
    ticks = sum(flight.ticks for flight in flights)
    progress.info("%d recordings: %d ticks checked against the invariants", len(flights), ticks)


def emptied(folder: Path) -> Path:
    """Remove the files of an earlier demo from a folder; return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def aligned(lines: Sequence[tuple[str, str]]) -> str:
    """Format names and values in two columns."""
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)


def guard_events(status: Any) -> dict[str, int]:
    """Return how often each guard rule acted, from a policy_msgs/PolicyStatus."""
    return {entry.name: entry.count for entry in status.guard_counters if entry.count}


def wait_until(reached: Callable[[], object], what: str, timeout_s: float) -> None:
    ends_s = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > ends_s:
            raise SimError(f"expected {what} within {timeout_s:g} s")
        time.sleep(0.1)


class LoggedProcess(WorkerProcess):
    """A command and its child processes, whose output goes to a file."""

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        niceness: int = 0,
    ) -> None:
        """Start the command.

        Args:
            words: Command and arguments.
            log: File for its output.
            environment: Variables in addition to those of this process.
            niceness: Niceness relative to this process.
        """
        self.name, self.log = Path(words[0]).name, log
        if shutil.which(words[0]) is None:
            raise SimError(
                f"{self.name}: expected a command on the PATH, found none; build the workspace "
                "and source install/setup.bash"
            )
        with log.open("wb") as stream:
            super().__init__(
                ["nice", "-n", str(niceness), *words] if niceness else words,
                environment=environment,
                output=stream,
            )

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def log_end(self) -> str:
        """Return the last lines of the log, for error messages."""
        lines = self.output().splitlines()[-_LINES_SHOWN:]
        shown = "\n".join(f"    {printable(line)}" for line in lines)
        return f"the end of {self.log}:\n{shown}"

    def check(self) -> None:
        """Raise a SimError with the end of the log if the process has ended."""
        if self.status is not None:
            text = f"{self.name}: ended with status {self.status}; {self.log_end()}"
            raise SimError(*text.split("\n"))

    def wait(self, timeout_s: float = _TIME_TO_LEAVE_S) -> int:
        """Wait for the process to end on its own; return its exit status."""
        self.ends_within(timeout_s)
        if self.status is None:
            raise SimError(f"{self.name}: expected the process to end within {timeout_s:g} s")
        return self.status

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, patience_s: float = _TIME_TO_STOP_S) -> None:
        """Stop the process as WorkerProcess does; when stopped, a simulator writes its trace."""
        super().stop(patience_s)

    def ask_to_end(self) -> None:
        """Interrupt the process and its children, like Ctrl-C in a terminal."""
        self.send(signal.SIGINT)


def start_node(
    command: str,
    parameters: Mapping[str, Any],
    log: Path,
    *,
    remappings: Mapping[str, str] | None = None,
    **more: Any,
) -> LoggedProcess:
    """Start a node as a `LoggedProcess`.

    Args:
        command: Name of the command, on the PATH.
        parameters: ROS parameters by name: booleans, numbers, strings, or lists of them.
        log: File for its output.
        remappings: Names to remap.
        **more: Same as for `LoggedProcess`.
    """
    words = [command, "--ros-args"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={json.dumps(value)}"]  # JSON is YAML: "2026" stays a string
    for old, new in (remappings or {}).items():
        words += ["-r", f"{old}:={new}"]
    return LoggedProcess(words, log, **more)


class Processes(ProcessGroup[LoggedProcess]):
    """Nodes that start and stop as a group. Use it in a `with` block.

    Nodes stop in reverse order, so that the robot still receives the policy node's shutdown
    commands.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all nodes; after an error, first show the last output of the nodes still running.

        A program that waits for a node knows only that nothing arrived; the node's log says why.
        """
        if isinstance(error, PolicyError):
            for process in self.running:
                if process.status is None:
                    progress.error(f"{process.name}: {process.log_end()}")
        super().__exit__(kind, error, traceback)

    def start(
        self, command: str, parameters: Mapping[str, Any], log: Path, **more: Any
    ) -> LoggedProcess:
        """Start another node; the arguments are those of `start_node`."""
        return self.add(start_node(command, parameters, log, **more))

    def check(self) -> None:
        """Raise a SimError if one of the nodes has ended."""
        for process in self.running:
            process.check()


def own_domain(environment: Mapping[str, str] = os.environ, *, seed: int) -> dict[str, str]:
    """Return environment variables for a private ROS domain on this machine.

    Args:
        environment: Current environment; if it has a ROS_DOMAIN_ID, the result is empty.
        seed: Any number, such as a process ID; the domain is chosen from it.
    """
    if environment.get("ROS_DOMAIN_ID"):
        return {}
    only_here = (
        {"ROS_LOCALHOST_ONLY": "1"}
        if environment.get("ROS_DISTRO") == "humble"
        else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    )
    # 0 is the default of all programs; above 101 the ports overlap the ephemeral ports of Linux.
    return {"ROS_DOMAIN_ID": str(1 + seed % 101), **only_here}


def free_port() -> int:
    """Return a currently free port."""
    with socket.create_server((LOOPBACK, 0)) as free:
        return int(free.getsockname()[1])
