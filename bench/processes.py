# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Child processes of the benchmark: the measured node, or the baseline."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml

from policy_inference.fast_dds import fast_dds_without_shared_memory

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "config" / "bundles" / "lite3_walk"
BaselineName = Literal["echo", "callbacks", "lifecycle", "load", "join"]
"""Programs of `bench.baselines`."""
_END_TIMEOUT_S = 10.0
_PATIENT = {"state_timeout_s": 1.0, "damp_after_s": 10.0}


class BenchError(Exception):
    """The measured program failed, so there is no figure."""


class UnsupportedError(BenchError):
    """This machine lacks something that the part needs, so there is no figure."""


class Child:
    """A running command whose output is kept for error messages."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `end`
        self.began_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            command, stdout=self._output, stderr=subprocess.STDOUT, cwd=ROOT
        )

    def cpu_ns(self) -> int:
        """Return user and system time of the command's threads, which the kernel counts in ns."""
        # clock of another process, computed like clock_getcpuclockid(3) on Linux
        return time.clock_gettime_ns((~self._process.pid << 3) | 2)

    def keep_to(self, core: int) -> None:
        """Pin all the command's threads to one core."""
        for thread in Path("/proc", str(self._process.pid), "task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def check(self) -> None:
        """Raise BenchError if the command has ended."""
        if self._process.poll() is not None:
            raise BenchError(
                f"{' '.join(self._command)}: ended with status {self._process.returncode}"
            )

    def wait(self, timeout_s: float) -> str:
        """Wait until the command ends; return its output."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise BenchError(str(error)) from error
        if status != 0:
            self.check()
        return self.output()

    def end(self) -> None:
        """Ask the command to end; kill it if it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


@contextmanager
def running(command: Sequence[str]) -> Iterator[Child]:
    """Run a command while the context is open; errors include its output."""
    child = Child(command)
    try:
        yield child
    except BenchError as error:
        raise type(error)(f"{error}\n{child.output()}".rstrip()) from error
    finally:
        child.end()


def keep_to_machine() -> None:
    """Use a ROS domain of our own, unless the caller chose one."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(fast_dds_without_shared_memory(os.environ))  # baselines too


def policy_node(**parameters: str) -> list[str]:
    """Return the command that starts the measured node with these parameters."""
    parameters = {"bundle": str(BUNDLE), **parameters}
    settings = [("-p", f"{name}:={value}") for name, value in parameters.items()]
    return ["joint_policy_node", "--ros-args", *(word for pair in settings for word in pair)]


def copied_bundle(folder: Path, changed: Mapping[str, Any], model: bytes = b"") -> Path:
    """Copy the bundle with changed entries in its contract, and a different model if given."""
    shutil.copytree(BUNDLE, folder)
    contract_file = folder / "policy.yaml"
    contract = yaml.safe_load(contract_file.read_text("utf-8")) | changed
    if model:
        (folder / "policy.onnx").write_bytes(model)
        contract["model"]["artifacts"]["onnx"]["sha256"] = hashlib.sha256(model).hexdigest()
    contract_file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


@contextmanager
def patient_bundle() -> Iterator[Path]:
    """Make a copy of the bundle whose policy goes on while states are late.

    A busy machine must change the figures, not end the policy.
    """
    contract = yaml.safe_load((BUNDLE / "policy.yaml").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        yield copied_bundle(Path(folder, "bundle"), {"safety": contract["safety"] | _PATIENT})


def baseline(name: BaselineName, *arguments: str) -> list[str]:
    """Return the command that runs a program of `bench.baselines`."""
    return [sys.executable, "-m", "bench.baselines", name, *arguments]


def in_namespace(command: Sequence[str], namespace: str) -> list[str]:
    """Return a node's command with its names in a namespace."""
    ros_args = [] if "--ros-args" in command else ["--ros-args"]
    return [*command, *ros_args, "-r", f"__ns:={namespace}"]
