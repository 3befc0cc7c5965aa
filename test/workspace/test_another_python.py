# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Workers in another Python start and find all that they import of the suite.

The other Python has what the lock of its environment lists, apart from the vendor's runtime. Each
worker must get as far as the import of that runtime.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lerobot_arm_driver.arms import ArmSettings
from lerobot_arm_driver.robot import ServoArm
from model_tools.errors import ToolError
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_inference.backends.registry import open_backend
from policy_inference.backends.rknn_toolkit.python import VARIABLE
from robot_driver.interfaces import DriverReport
from robot_driver.supervisor import LinkSupervisor

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "config" / "bundles" / "lite3_walk"
REPORT_TIMEOUT_S = 60.0
STARTS = re.compile(r"interpreter=|def interpreter|self\.python =")
"""Code that starts another Python, or names the one to start."""


@pytest.fixture
def make_python(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that makes a Python with the packages of a lock that are installed here."""

    def make(lock: str) -> str:
        venv = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        site = next(venv.glob("lib/python3.*/site-packages"))
        version = f"py{sys.version_info.major}{sys.version_info.minor}"
        text = (ROOT / "tools" / "setup" / "locks" / f"{lock}-{version}.txt").read_text()
        link_installed(re.findall(r"^([\w.-]+)==", text, re.MULTILINE), site)
        return str(venv / "bin" / "python")

    return make


def link_installed(packages: Iterable[str], site: Path) -> None:
    """Link packages that are installed here, and what these versions of them require."""
    linked, waiting = set[str](), [*packages]
    while waiting:
        package = canonicalize_name(waiting.pop())
        if package in linked:
            continue
        linked.add(package)
        try:
            found = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(str(found.locate_file(name)))
        needs = map(Requirement, found.requires or ())
        waiting += [n.name for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]


def open_rknn_sim(python: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, python)
    with pytest.raises(BackendError) as caught:
        open_backend(load_bundle(OURS, kind=JointBundle), ["rknn_sim"])
    return str(caught.value)


def compile_rknn(python: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, python)
    request = CompileRequest(
        compiler="rknn",
        bundle=OURS,
        precision="fp16",
        target="rk3588",
        rows=None,
        samples=32,
        output=folder / "compiled",
    )
    with pytest.raises(ToolError) as caught:
        compile_bundle(request)
    return str(caught.value)


def drive_arm(python: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start the driver of an arm; return why it does not connect."""
    bus, port = os.openpty()
    reports = queue.Queue[DriverReport]()
    settings = ArmSettings(
        robot="so101",
        port=os.ttyname(port),
        calibration_dir=str(folder),
        lerobot_python=python,
    )
    link = LinkSupervisor(
        ServoArm(settings),
        on_state=lambda state, received_ns: None,
        on_report=reports.put,
        on_lost=lambda reason: None,
    )
    try:
        while True:
            for obstacle in reports.get(timeout=REPORT_TIMEOUT_S).obstacles:
                if "LeRobot" in obstacle:
                    return obstacle
    finally:
        link.close()
        os.close(bus)
        os.close(port)


Start = Callable[[str, Path, pytest.MonkeyPatch], str]
WORKERS: dict[str, tuple[Start, str]] = {
    "policy_inference/backends/child.py": (open_rknn_sim, "rknn"),
    "policy_inference/backends/rknn_sim.py": (open_rknn_sim, "rknn"),
    "model_tools/ship/compilers/rknn_toolkit.py": (compile_rknn, "rknn"),
    "robot_driver/supervisor.py": (drive_arm, "lerobot"),
    "lerobot_arm_driver/robot.py": (drive_arm, "lerobot"),
}
"""By file that starts another Python or names one: what runs it, and the lock and the runtime."""
DECLARES = {
    "policy_inference/backends/base.py",
    "policy_inference/worker_process.py",
    "robot_driver/robot.py",
}
"""Files that only declare or pass on that there may be another Python."""


def test_every_use_of_another_python_is_started_here() -> None:
    files = (file for file in (ROOT / "src").glob("*/*/**/*.py") if "test" not in file.parts)
    found = {
        str(file.relative_to(ROOT / "src")).partition("/")[2]
        for file in files
        if STARTS.search(file.read_text(encoding="utf-8"))
    }
    assert found - DECLARES == set(WORKERS)


@pytest.mark.parametrize(("start", "runtime"), dict.fromkeys(WORKERS.values()))
def test_a_worker_gets_as_far_as_its_runtime(
    make_python: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Start,
    runtime: str,
) -> None:
    assert f"No module named '{runtime}" in start(make_python(runtime), tmp_path, monkeypatch)
