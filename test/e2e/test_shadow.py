# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node counted of its shadow is what `replay` computes of the recording, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from std_srvs.srv import SetBool

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_flight
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.interfaces import ShadowMode
from policy_inference.flight.ring import ShadowOutcome

from .conftest import WALKING_MPS
from .recorded import asked_to_record
from .rig import Rig

pytestmark = pytest.mark.ros


@pytest.fixture
def wrong_scale(tmp_path: Path) -> Path:
    """The policy that ships with the suite, with one wrong scale."""
    folder, shipped = tmp_path / "candidate", bundle_folder("lite3_walk")
    folder.mkdir()
    for file in shipped.iterdir():
        if file.is_file() and file.name != "policy.yaml":
            shutil.copy(file, folder)
    contract = yaml.safe_load((shipped / "policy.yaml").read_text("utf-8"))
    for term in contract["observations"]["obs"]["terms"]:
        if term["term"] == "joint_vel":
            term["scale"] = 2.0 * term["scale"]
    contract["version"], contract["reports"] = "9.9.9", {}
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


@pytest.fixture
def shadowed_robot(tmp_path: Path, wrong_scale: Path) -> Iterator[Rig]:
    """A robot whose policy has a shadow."""
    with Rig(tmp_path, policy={"shadow_bundle": str(wrong_scale)}) as rig:
        yield rig


def record_run(rig: Rig, begins: bool) -> Path:
    return asked_to_record(rig, SetBool, "record_run", SetBool.Request(data=begins))


def shadow_process(rig: Rig) -> int:
    """Return the number of the shadow's process, a child of the policy node's."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if b"policy_inference.shadow.shadow_main" in words and parent == rig.policy.pid:
            return int(folder.name)
    raise AssertionError("no shadow runs")


@pytest.mark.acceptance
def test_figures_of_the_node_are_those_of_the_replayed_recording(
    shadowed_robot: Rig, wrong_scale: Path
) -> None:
    record_run(shadowed_robot, True)
    shadowed_robot.operator.stand_up()
    shadowed_robot.operator.move(WALKING_MPS)
    shadowed_robot.operator.wait(1.0)
    process = shadow_process(shadowed_robot)
    # Else it owes answers at the end for as long as anything else wants the core.
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
    # Long enough for ticks to be lost, then to be skipped.
    os.kill(process, signal.SIGSTOP)
    shadowed_robot.operator.wait(2.0)
    os.kill(process, signal.SIGCONT)
    shadowed_robot.operator.wait(2.0)
    shadowed_robot.operator.demand("damp")
    shadowed_robot.operator.wait(2.0)
    shadowed_robot.wait_until(
        lambda: shadowed_robot.operator.status.shadow, "the shadow in the status"
    )
    counted = shadowed_robot.operator.status.shadow[0]
    path = record_run(shadowed_robot, False)
    shadowed_robot.wait_until(path.exists, "the recording")

    recording = FlightRecording(path)
    found = shadow_flight(
        recording, load_bundle(wrong_scale, kind=JointBundle), ["onnx"], {}, ShadowMode.FOLLOWED
    )

    recorded = recorded_divergence(recording)
    assert recorded is not None
    assert recorded.counts == found.divergence.counts
    assert recorded.counts[ShadowOutcome.LOST] > 0
    assert counted.compared == recorded.compared > 50
    assert counted.lost == recorded.counts[ShadowOutcome.LOST]
    for name in ("mean", "rms", "max"):
        np.testing.assert_array_equal(getattr(found.divergence, name), getattr(recorded, name))
        np.testing.assert_array_equal(getattr(found.divergence, name), getattr(counted, name))
    assert found.divergence.rules == recorded.rules
    assert max(counted.max) > 0.01
