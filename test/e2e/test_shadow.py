# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node counted of its shadow is what `replay` computes of the recording, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from std_srvs.srv import SetBool

from model_tools.cli import main as model_tools_main
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_flight
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import bundle_folder, load_bundle
from policy_inference.flight.ring import ShadowOutcome
from policy_inference.interfaces import ShadowMode

from .conftest import WALKING_MPS
from .rig import Rig

pytestmark = pytest.mark.ros
IDLE_S = 120.0
"""The shadow runs only when nothing else wants the core."""


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
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
def shadowed(tmp_path: Path, candidate: Path) -> Iterator[Rig]:
    """A robot whose policy has a shadow."""
    with Rig(tmp_path, policy={"shadow_bundle": str(candidate)}) as rig:
        yield rig


def record_run(rig: Rig, begins: bool) -> Path:
    client = rig.operator.node.create_client(SetBool, "joint_policy_node/record_run")
    rig.wait_until(client.service_is_ready, "the service")
    future = client.call_async(SetBool.Request(data=begins))
    rig.wait_until(future.done, "an answer")
    assert future.result().success, future.result().message
    return Path(future.result().message.partition(" ")[2])


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


def test_figures_of_the_node_are_those_of_the_replayed_recording(
    shadowed: Rig, candidate: Path
) -> None:
    record_run(shadowed, True)
    shadowed.operator.stand_up()
    shadowed.operator.move(WALKING_MPS)
    shadowed.operator.wait(1.0)
    process = shadow_process(shadowed)
    # Else it owes answers at the end for as long as anything else wants the core.
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
    # Long enough for ticks to be lost, then to be skipped.
    os.kill(process, signal.SIGSTOP)
    shadowed.operator.wait(2.0)
    os.kill(process, signal.SIGCONT)
    shadowed.operator.wait(2.0)
    shadowed.operator.demand("damp")
    shadowed.operator.wait(2.0)
    shadowed.wait_until(lambda: shadowed.operator.status.shadow, "the shadow in the status")
    counted = shadowed.operator.status.shadow[0]
    path = record_run(shadowed, False)
    shadowed.wait_until(path.exists, "the recording")

    recording = FlightRecording(path)
    found = shadow_flight(
        recording,
        load_bundle(candidate, kind=JointBundle),
        ["onnx"],
        {},
        ShadowMode.FOLLOWED,
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


@pytest.mark.slow
def test_int8_beside_fp32_diverges_by_what_compare_finds(tmp_path: Path) -> None:
    samples = bundle_folder("lite3_walk") / "golden.npz"
    int8, report = tmp_path / "int8", tmp_path / "report"
    words = ("--precision", "int8", "--rows", str(samples), "--output", str(int8))
    assert model_tools_main(["compile", "onnx", "--bundle", "lite3_walk", *words]) == 0
    with Rig(tmp_path, policy={"shadow_bundle": str(int8)}) as rig:
        record_run(rig, True)
        rig.operator.stand_up()
        rig.operator.move(WALKING_MPS)
        rig.operator.wait_until(
            lambda: any(one.compared >= 100 for one in rig.operator.status.shadow),
            "a shadow that was compared in 100 ticks",
            IDLE_S,
        )
        rig.operator.demand("damp")
        path = record_run(rig, False)
        rig.wait_until(path.exists, "the recording")

    recording = FlightRecording(path)
    found = recorded_divergence(recording)
    assert found is not None
    compared = {
        answer.tick
        for answer in recording.shadow_answers()
        if answer.outcome is ShadowOutcome.COMPARED
    }
    rows = [tick.inputs["obs"] for tick in recording.ticks() if tick.number in compared]
    assert len(rows) == found.compared
    np.savez(tmp_path / "rows.npz", obs=np.concatenate(rows))
    rows_file = str(tmp_path / "rows.npz")
    beside = ["--rows", rows_file, "--output", str(report)]
    assert model_tools_main(["compare", "lite3_walk", str(int8), *beside]) == 0
    _, of_int8 = json.loads((report / "comparison.json").read_text("utf-8"))["artifacts"]
    (each,) = (
        one["outputs"]["action"]["each"]
        for one in of_int8["open_loop"]
        if one["rows"] == "rows.npz"
    )
    (term,) = load_bundle(int8, kind=JointBundle).contract.action.terms
    assert term.joints == found.joints
    for name, figure in (("mean", "mae"), ("rms", "rmse"), ("max", "max_abs")):
        expected = term.scale * np.array([each[joint][figure] for joint in found.joints])
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0.0, atol=1e-6)
    assert found.max.max() > 0.005
