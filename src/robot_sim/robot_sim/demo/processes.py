# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A demo: nodes as processes of their own, started together, watched, and ended in order."""

import argparse
import json
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from policy_core.bundle.load import bundle_folder
from policy_core.errors import PolicyError, printable
from policy_inference.command_line import CommandResult, show_result, words_of
from policy_inference.worker_process import ProcessGroup, WorkerProcess
from robot_sim.errors import SimError

INTERRUPTED = 130
SUMMARY = "summary.json"
_TIME_TO_LEAVE_S = 10.0
_LINES_SHOWN = 15
DemoOutcome = tuple[Mapping[str, Any], str, str | None]
"""Content of the summary, the same as text, and the failure; None after success."""
_log = logging.getLogger("robot_sim_demo")


def add_output(parser: argparse.ArgumentParser, default: Path) -> None:
    """Declare the folder `--output`, of which `run_demo` removes the results of an earlier run."""
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        help="folder for results; those of an earlier run are replaced (default: %(default)s)",
    )


def run_demo(
    command: str,
    given: argparse.Namespace,
    files: Sequence[str],
    demonstrate: Callable[[argparse.Namespace], DemoOutcome],
    require_bundle: Callable[[str], object] = bundle_folder,
) -> int:
    """Run a demo in a ROS domain of its own.

    Args:
        command: Its name, for messages.
        given: Its arguments, with `bundle`, `backend` and the folder `output`.
        files: Its results; those of an earlier run are removed.
        demonstrate: Does the work.
        require_bundle: Raises SimError or PolicyError for a bundle that cannot be used, before
            anything is removed or started.

    Returns:
        The exit status: 0; 1 after a failure; 4 after an error; 130 after Ctrl-C.
    """
    _log.addHandler(logging.StreamHandler())
    _log.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    os.environ.update(own_domain(seed=os.getpid()))
    domain = os.environ["ROS_DOMAIN_ID"]
    _log.info("%s on %s, ROS_DOMAIN_ID %s", given.bundle, given.backend, domain)
    try:
        require_bundle(given.bundle)  # a name with a typing error must not cost earlier results
        _make_folder(given.output)
        for name in files:
            (given.output / name).unlink(missing_ok=True)
        summary, text, failure = demonstrate(given)
    except (SimError, PolicyError) as error:
        _log.error("%s: %s", command, error)
        return PolicyError.exit_status
    except OSError as error:
        _log.error("%s: %s", command, words_of(error))
        return PolicyError.exit_status
    except KeyboardInterrupt:
        _log.error("%s: interrupted; the nodes have ended", command)
        return INTERRUPTED
    show_result(CommandResult(document=summary, text=[text]), as_json=given.json)
    if failure is None:
        return 0
    _log.error("%s: %s", command, failure)
    return 1


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SimError(f"--output {output}: expected a folder for results, found a file") from error
    except OSError as error:
        raise SimError(
            f"--output {output}: expected a folder, or a place where one can be made, found: "
            f"{error.strerror}; name another"
        ) from error


class OwnProcess(WorkerProcess):
    """A command whose output goes into a file, for messages."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        niceness: int = 0,
    ) -> None:
        """Start it.

        Args:
            name: For messages.
            words: Command and arguments.
            log: File for all that it prints.
            environment: Variables beside those of this process.
            niceness: How far its priority is below that of this process.

        Raises:
            SimError: There is no such command.
        """
        self.name, self.log = name, log
        try:
            with log.open("wb") as stream:
                super().__init__(
                    ["nice", "-n", str(niceness), *words] if niceness else words,
                    environment=environment,
                    output=stream,
                )
        except FileNotFoundError:
            raise SimError(
                f"{words[0]}: expected a command on the PATH, found none; build the "
                "workspace and source install/setup.bash"
            ) from None

    def output(self) -> str:
        """Return what the process has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Raise if the process has ended.

        Raises:
            SimError: With its status and the end of its log.
        """
        if self.status is not None:
            raise SimError(f"{self.name}: ended with status {self.status}; {self.log_end()}")

    def log_end(self) -> str:
        """Return the last lines of its log, for a message."""
        lines = self.output().splitlines()[-_LINES_SHOWN:]
        shown = "\n".join(f"    {printable(line)}" for line in lines)
        return f"the end of {self.log}:\n{shown}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float = _TIME_TO_LEAVE_S) -> int:
        """Wait for the process to end by itself; return its exit status.

        Raises:
            SimError: It has not ended within `timeout_s`.
        """
        self.ends_within(timeout_s)
        if self.status is None:
            raise SimError(f"{self.name}: expected it to end within {timeout_s:g} s, it still runs")
        return self.status

    def ask_to_end(self) -> None:
        """Interrupt it and its children, as Ctrl-C in a terminal does."""
        self.send(signal.SIGINT)


class NodeProcess(OwnProcess):
    """One node."""

    def __init__(
        self,
        command: str,
        parameters: Mapping[str, Any],
        log: Path,
        *,
        remappings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        niceness: int = 0,
    ) -> None:
        """Start the command.

        Args:
            command: Name of the command, on the PATH.
            parameters: ROS parameters by name: booleans, numbers, texts, lists of them.
            log: File for all that it prints.
            remappings: Names to remap.
            environment: Variables beside those of this process.
            niceness: How far its priority is below that of this process.

        Raises:
            SimError: There is no such command.
        """
        words = [command, "--ros-args"]
        for name, value in parameters.items():
            # JSON is YAML, and keeps a text like "2026" a text.
            words += ["-p", f"{name}:={json.dumps(value)}"]
        for old, new in (remappings or {}).items():
            words += ["-r", f"{old}:={new}"]
        super().__init__(command, words, log, environment=environment, niceness=niceness)


class Processes(ProcessGroup[OwnProcess]):
    """Several nodes that live and end together. Use it in a `with` block.

    The last one ends first: the robot must receive the policy node's shutdown commands.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all of them; after an error, first show what those that still run have said last.

        A program that waits for a node knows only that nothing came; the node's log has the reason.
        """
        if isinstance(error, PolicyError):
            for process in self.running:
                if process.status is None:
                    _log.error("%s: %s", process.name, process.log_end())
        super().__exit__(kind, error, traceback)

    def start(
        self, command: str, parameters: Mapping[str, Any], log: Path, **more: Any
    ) -> NodeProcess:
        """Start one more; arguments as those of `NodeProcess`."""
        process = NodeProcess(command, parameters, log, **more)
        self.add(process)
        return process

    def run(self, name: str, words: Sequence[str], log: Path) -> OwnProcess:
        """Start one more that is no node; arguments as those of `OwnProcess`."""
        return self.add(OwnProcess(name, words, log))

    def check(self) -> None:
        """Raise a SimError if one of them has ended."""
        for process in self.running:
            process.check()


def own_domain(environment: Mapping[str, str] = os.environ, *, seed: int) -> dict[str, str]:
    """Return environment variables of a ROS domain of its own on this machine.

    Args:
        environment: If it has a ROS_DOMAIN_ID, that is kept, and the result is empty.
        seed: Any number; a process id spreads well.
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
