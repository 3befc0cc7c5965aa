# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An ACT in 8 bits as the shadow of the arm's ACT, in lockstep: shadow, tools and comparison agree.

Each chunk is executed to its end, so that the ticks of the run are the steps of its chunks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools.files.rows import RecordedObservation
from model_tools.prove.calibration.graph_samples import collect_samples
from model_tools.prove.comparison.candidates import candidates
from model_tools.prove.comparison.compare import compare
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import shadow_flight
from model_tools.ship.compilers.onnx import quantise
from model_tools.simulation.arm import raw_frame
from model_tools.simulation.controlled import drive_command
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import GOLDEN_CAMERA, GOLDEN_CHUNK, GOLDEN_STATE
from policy_core.bundle.load import load_bundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode, ShadowMode, Tensor
from policy_core.members.chunk.normalise import Units
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.policy import InferredChunk
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.images import Frame
from policy_inference.flight.description import flight_of, settings_of
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring, ShadowAnswer
from policy_inference.flight.sensors import JOINT_STATES, SensorMessages
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.shadow.chunk_shadow import ChunkTick, ShadowObservation
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadow_process import ChunkExecution, ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowQuestion
from robot_sim.arm_world import ArmWorld

from .opening import opened_with_onnx

BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "so101_reach"
ANSWERED_WITHIN_S = 120.0
CALIBRATED_ON = 24
CHUNKS = 4
ASKED_AT_ONCE = 20
"""Ticks; a shadow that waits for the core gets it rarely, where others want it."""
RING = 1000


class Scenes:
    """Observations of the arm at rest, the cube in another place each."""

    name, count = "scenes", CALIBRATED_ON

    def __init__(self, bundle: ChunkBundle) -> None:
        self.contract = bundle.contract
        self._units = Units(self.contract.units, self.contract.joints.names)

    def observations(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        world = ArmWorld()
        for number in wanted:
            world.reset(seed=number)
            yield RecordedObservation(
                number=number,
                images={name: world.render(name) for name in self.contract.cameras},
                state=self._units.of_rad(world.sense().joint_pos),
                environment_state=None,
            )
        world.close()


class ShadowedReach:
    """The simulated arm under a policy; a shadow is asked about each tick, and waited for.

    The ticks in RUN are a multiple of ASKED_AT_ONCE.

    Attributes:
        chunks: Of the policy, in the order in which they were executed.
        divergence: Of the shadow.
        answers: Of the shadow, one for each tick in which the policy ran.
    """

    def __init__(self, bundle: ChunkBundle, shadow: ChunkBundle, mode: ShadowMode) -> None:
        contract = bundle.contract
        settings = ChunkSettings(mode="synchronous", steps=contract.chunk.size)
        limits = limits_in_force(contract, StricterLimits())
        self._now_ns, self._period_ns = 0, contract.period_ns
        self._policy = ChunkKind(settings, simulated_time=True).open(
            opened_with_onnx(bundle.path), {}, bundle, limits, lambda: self._now_ns
        )
        controller = self._policy.controller
        self._process = ShadowProcess(
            opened_with_onnx(shadow.path),
            bundle,
            controller.state,
            mode,
            ChunkExecution(settings, True),
        )
        types = message_types()
        self._messages, self._types = SensorMessages(types), types
        facts = {"shadow.bundle_sha256": shadow.sha256, "shadow.bundle_name": contract.name}
        self._flight = flight_of(
            bundle,
            self._policy.backend,
            controller,
            [JOINT_STATES],
            settings={**settings_of(limits, self._policy.backend, chunks=settings), **facts},
        )
        self._ring = Ring(controller.latest_tick, self._policy.tap, RING)
        self._policy.tap.show(self._ring)
        self._world = ArmWorld()
        self.chunks = list[InferredChunk]()
        self.divergence = Divergence.of(contract)
        self.answers = list[ShadowAnswer]()
        controller.start()
        self._process.start()

    def reach(self, ticks: int) -> ShadowedReach:
        """Stand up, and let the policy run for so many ticks."""
        controller = self._policy.controller
        self._tick()
        controller.stand()
        while not self._is_in(Mode.READY):
            self._tick()
        controller.run()
        for _ in range(ticks):
            self._tick()
        assert self._is_in(Mode.RUN), controller.snapshot().reason
        return self

    def _is_in(self, *modes: Mode) -> bool:
        return self._policy.controller.mode in modes

    def _tick(self) -> None:
        self._world.step(self._period_ns)
        sensed, controller = self._world.sense(), self._policy.controller
        now_ns = self._now_ns = sensed.time_ns
        controller.state["joint_pos"][:] = sensed.joint_pos
        for entry in controller.inputs.values():
            entry.accept(now_ns, now_ns, now_ns)
        if self._is_in(Mode.READY, Mode.RUN):
            for name, buffer in self._policy.chunks[0].frames.items():
                buffer.add(raw_frame(self._world.render(name)), now_ns)
        targets = controller.tick(now_ns, now_ns + self._period_ns)
        answers = self._shadowed()
        wire = self._messages.joint_states(
            now_ns, sensed.joint_names, sensed.joint_pos, sensed.joint_vel, sensed.joint_effort
        )
        tick, number = controller.latest_tick, None if targets is None else self._ring.end
        tick.send(targets, number, stamp_ns=now_ns, duration_ns=0)
        self._ring.record(tick, (wire,), answers)
        if targets is not None:
            names = self._policy.bundle.contract.joints.on_robot()
            self._world.apply(drive_command(names, targets))

    def _shadowed(self) -> tuple[ShadowAnswer, ...]:
        """Ask the shadow about this tick; return the answers that have come."""
        controller, policy = self._policy.controller, self._policy.chunks[0].policy
        if controller.latest_tick.mode is not Mode.RUN:
            return ()
        arrived = [*policy.chunks]
        policy.chunks.clear()
        self.chunks += arrived
        seen = tuple(map(ShadowObservation.of, arrived))
        run = controller.latest_tick
        self._process.give(
            self._ring.end,
            ShadowQuestion(
                controller.state.flat,
                run.target,
                run.begins,
                chunk=ChunkTick(policy.tick, policy.target, seen),
            ),
        )
        if self._process.pending < ASKED_AT_ONCE:
            return ()
        answers, ends_s = list[ShadowAnswer](), time.monotonic() + ANSWERED_WITHIN_S
        while self._process.pending:
            answers += self._process.take()
            assert time.monotonic() < ends_s, self._process.problem()
            os.sched_yield()
        self.answers += answers
        for answer in answers:
            self.divergence.add(answer)
        return tuple(answers)

    def save(self, place: Path) -> FlightRecording:
        self._process.close()
        self._policy.close()
        self._world.close()
        ticks, lost = self._ring.copies(0, self._ring.end)
        assert not lost
        with Recording(place, self._types, self._flight, "a test") as recording:
            recording.add(ticks)
        return FlightRecording(recording.place)


def image_of(frame: Frame) -> Tensor:
    return np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3)


def changed_copy(bundle: ChunkBundle, folder: Path, change: Any) -> ChunkBundle:
    """Return a copy of a bundle; `change` gets its contract and the folder."""
    shutil.copytree(bundle.path, folder)
    contract = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    change(contract, folder)
    (folder / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return load_bundle(folder, kind=ChunkBundle)


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def reach_bundle() -> ChunkBundle:
    return load_bundle(BUNDLE, kind=ChunkBundle)


@pytest.fixture(scope="module")
def act_in_8_bits(
    reach_bundle: ChunkBundle, tmp_path_factory: pytest.TempPathFactory
) -> ChunkBundle:
    """The same with integers of 8 bits in both graphs."""
    seen = tmp_path_factory.mktemp("samples")
    samples = collect_samples(reach_bundle, Scenes(reach_bundle), CALIBRATED_ON, seen)

    def in_integers(contract: dict[str, Any], folder: Path) -> None:
        for name, graph in contract["graphs"].items():
            entry = graph["artifacts"]["onnx"]
            made = folder / f"{name}.onnx"
            quantise(reach_bundle.path / entry["file"], made, samples[name].inputs)
            entry.update(file=made.name, sha256=sha256_of(made), precision="int8")
        contract["version"] = "9.9.9"

    return changed_copy(reach_bundle, tmp_path_factory.mktemp("bundles") / "int8", in_integers)


def on_what_was_seen(
    bundle: ChunkBundle, chunks: Sequence[InferredChunk], folder: Path
) -> ChunkBundle:
    """Return the bundle with golden rows that are what it saw in a flight, and answered."""
    contract, state = bundle.contract, bundle.contract.state
    assert state is not None
    of_state, of_action = (Units(contract.units, each.joints) for each in (state, contract.action))
    observed: list[Snapshot] = [chunk.sensed for chunk in chunks]
    rows: Mapping[str, Tensor] = {
        **{
            f"{GOLDEN_CAMERA}{name}": np.stack([image_of(one.frames[name]) for one in observed])
            for name in contract.cameras
        },
        GOLDEN_STATE: np.stack([of_state.of_rad(one.fields["joint_pos"]) for one in observed]),
        GOLDEN_CHUNK: np.stack([of_action.of_rad(chunk.targets) for chunk in chunks]),
    }

    def with_rows(contract: dict[str, Any], folder: Path) -> None:
        file = folder / contract["golden"]["file"]
        np.savez(file, **rows)  # type: ignore[arg-type]  # a flag
        contract["golden"]["sha256"] = sha256_of(file)

    return changed_copy(bundle, folder, with_rows)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ShadowMode)
def test_divergence_of_8_bits_is_what_compare_and_replay_find(
    reach_bundle: ChunkBundle, act_in_8_bits: ChunkBundle, tmp_path: Path, mode: ShadowMode
) -> None:
    size = reach_bundle.contract.chunk.size
    reach = ShadowedReach(reach_bundle, act_in_8_bits, mode).reach(CHUNKS * size)
    divergence = reach.divergence
    recording = reach.save(tmp_path / "flight")

    assert len(reach.chunks) == CHUNKS
    assert divergence.compared == len(reach.answers) == CHUNKS * size
    assert 0.001 < divergence.max.max() < 1.0
    # Offline, bit for bit.
    again = shadow_flight(recording, act_in_8_bits, ["onnx"], {}, mode).divergence
    for name in ("counts", "mean", "rms", "max", "rules", "beyond_limits"):
        np.testing.assert_array_equal(getattr(divergence, name), getattr(again, name))
    # The same observations in `compare`, which measures all steps of a chunk.
    reference = on_what_was_seen(reach_bundle, reach.chunks, tmp_path / "reference")
    _, other = compare(candidates([reference, act_in_8_bits], ["onnx"], {}), [])
    (on_rows,) = other.on_rows
    _, in_rad, *_ = on_rows.differences
    assert on_rows.count == CHUNKS
    assert in_rad.names == reach_bundle.contract.joints.names
    np.testing.assert_allclose(divergence.mean, in_rad.mae_each, rtol=0.0, atol=1e-6)
    np.testing.assert_allclose(divergence.rms, in_rad.rmse_each, rtol=0.0, atol=1e-6)
    np.testing.assert_allclose(divergence.max, in_rad.max_abs_each, rtol=0.0, atol=1e-6)
