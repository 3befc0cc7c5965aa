# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node beside a robot, in one process, on a ROS 2 domain of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import pytest

from policy_core.bundle.store import CURRENT, ROOT_VARIABLE
from policy_inference.backends.onnx import OnnxBackend

from .bundles import write_record
from .harness import Activate, Robot, StageOf, staged
from .kinds import IN_USE, JOINT, NAMES, NEWER, OLDER, Kind


@pytest.fixture
def log_since(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return what this process wrote to its standard error since the last call.

    `capfd.readouterr` cuts the file short after each look, and with it a line that another thread
    writes just then; so the file is read at a place of our own.
    """
    with ExitStack() as opened:

        @cache  # in the test: while fixtures are set up, another file is there
        def log() -> TextIO:
            return opened.enter_context(Path("/proc/self/fd/2").open(errors="replace"))

        yield lambda: log().read()


@pytest.fixture
def kind() -> Kind:
    """Joint policies, where a test has no parameter of this name."""
    return JOINT


@pytest.fixture
def node_stage(log_since: Callable[[], str], kind: Kind) -> Iterator[StageOf[Any, Any]]:
    with staged(kind.robot, kind.node, log_since) as stage:
        yield stage


@pytest.fixture
def partner(node_stage: StageOf[Any, Any]) -> Any:
    return node_stage.robot


@pytest.fixture
def bundle_in_use(tmp_path: Path, kind: Kind) -> Path:
    return kind.write(tmp_path / "in_use", IN_USE)


@pytest.fixture
def two_versions(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of two installed versions, the older of which is in use."""
    folder = tmp_path / "models" / NAMES[kind]
    for version in (OLDER, NEWER):
        write_record(kind.write(folder / version, version))
    (folder / CURRENT).symlink_to(OLDER)
    monkeypatch.setenv(ROOT_VARIABLE, str(folder.parent))
    monkeypatch.chdir(folder)  # where no folder has the name of the bundle
    return folder


@pytest.fixture
def activate(node_stage: StageOf[Any, Any], bundle_in_use: Path) -> Activate:
    return lambda **parameters: node_stage.active(
        **{"bundle": str(bundle_in_use), "status_rate_hz": 20.0, **parameters}
    )


@pytest.fixture
def lockstep_node(activate: Activate) -> Any:
    return activate(use_sim_time=True)


@pytest.fixture
def lockstep(lockstep_node: Any, partner: Robot) -> Robot:
    partner.is_met()
    return partner


@pytest.fixture
def python_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that run in Python, where a test can replace what they do."""
    monkeypatch.setattr(OnnxBackend, "native_model", lambda _: None)
