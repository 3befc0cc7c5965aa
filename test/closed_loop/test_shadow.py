# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow in 8 bits beside the walking policy, in lockstep: node, tools and comparison agree."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from model_tools.prove.comparison.candidates import candidates
from model_tools.prove.comparison.compare import compare
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import shadow_flight
from model_tools.prove.trial import RecordedPolicy
from model_tools.ship.compilers.onnx import quantise
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Backend, Mode, ShadowMode
from policy_inference.backends.registry import open_backend
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadow_process import ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowQuestion
from robot_sim.drives import DriveCommand
from robot_sim.walk import evenly_timed, walk
from robot_sim.world import Sensors, World

from .opening import opened_with_onnx

BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
ANSWERED_WITHIN_S = 120.0
WALK_S = 8.0


class ShadowedPolicy(RecordedPolicy):
    """A recorded policy that asks a shadow about each tick, and waits for its answer."""

    def __init__(
        self, bundle: JointBundle, backend: Backend, place: Path, shadow: Path, mode: ShadowMode
    ) -> None:
        super().__init__(bundle, backend, place, "a test")
        self.process = ShadowProcess(opened_with_onnx(shadow), bundle, self.controller.state, mode)
        self.process.start()
        self.answers = list[ShadowAnswer]()
        self._number = 0

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        drive = super().__call__(sensors, command)
        if self.controller.latest_tick.mode is Mode.RUN:
            run = self.controller.latest_tick
            question = ShadowQuestion(self.controller.state.flat, run.target, run.begins)
            self.process.give(self._number, question)
        self._number += 1
        ends_s = time.monotonic() + ANSWERED_WITHIN_S
        while self.process.pending:
            self.answers += self.process.take()
            assert time.monotonic() < ends_s, self.process.problem()
            os.sched_yield()
        return drive


@pytest.fixture(scope="module")
def walk_in_8_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same policy with integers of 8 bits, calibrated on its golden rows."""
    folder = tmp_path_factory.mktemp("bundles") / "int8"
    shutil.copytree(BUNDLE, folder)
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    golden = bundle.golden()
    _, model = bundle.artifact("onnx")
    samples = {name: golden[name] for name in bundle.contract.model.inputs}
    quantise(model, folder / "int8.onnx", samples)
    contract = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    contract["model"]["artifacts"]["onnx"] = {
        "file": "int8.onnx",
        "sha256": hashlib.sha256((folder / "int8.onnx").read_bytes()).hexdigest(),
        "precision": "int8",
    }
    contract["version"], contract["limits"] = "9.9.9", {}
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("mode", ShadowMode)
def test_divergence_of_8_bits_is_what_compare_and_replay_find(
    walk_in_8_bits: Path, tmp_path: Path, mode: ShadowMode
) -> None:
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    schedule = evenly_timed([(0.5, 0.0, 0.0), (0.3, 0.2, 0.4)], each_s=WALK_S / 2)
    policy = ShadowedPolicy(bundle, backend, tmp_path / "flight", walk_in_8_bits, mode)
    with policy:
        walk(World(), policy, schedule, duration_s=WALK_S, until=None)
    policy.process.close()
    backend.close()
    contract = bundle.contract
    divergence = Divergence.of(contract)
    for answer in policy.answers:
        divergence.add(answer)

    # Offline, bit for bit.
    shadow = load_bundle(walk_in_8_bits, kind=JointBundle)
    again = shadow_flight(FlightRecording(policy.place), shadow, ["onnx"], {}, mode).divergence
    assert divergence.compared == again.compared > 0.5 * WALK_S * contract.rate_hz
    for name in ("mean", "rms", "max", "rules", "beyond_limits"):
        np.testing.assert_array_equal(getattr(divergence, name), getattr(again, name))
    assert 0.001 < divergence.max.max() < 1.0
    if mode is ShadowMode.FREE:
        return
    # On what the active policy was given. `compare` measures raw actions: the scale makes targets
    # of them.
    ticks = [tick for tick in FlightRecording(policy.place).ticks() if tick.target is not None]
    rows = tmp_path / "rows.npz"
    np.savez(rows, obs=np.concatenate([tick.inputs["obs"] for tick in ticks]))
    _, other = compare(candidates([bundle, shadow], ["onnx"], {}), [rows])
    (on_rows,) = [found for found in other.on_rows if found.source != "golden rows"]
    (term,) = contract.action.terms
    assert on_rows.count == divergence.compared
    np.testing.assert_allclose(divergence.mean, on_rows.action.mae_each * term.scale, atol=1e-6)
    np.testing.assert_allclose(divergence.rms, on_rows.action.rmse_each * term.scale, atol=1e-6)
    np.testing.assert_allclose(divergence.max, on_rows.action.max_abs_each * term.scale, atol=1e-6)
