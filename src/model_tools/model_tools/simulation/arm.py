# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drive the simulated SO-101 with the real chunk controller, in lockstep and without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_tools.errors import ToolError
from model_tools.simulation.controlled import SelfOperated, drive_command
from policy_core.bundle.bundle import AnyBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, U8, Backend, JointTargets, Mode
from policy_core.members.chunk.controller import chunk_controller
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.success import success_watch
from policy_core.observation.images import Frame
from policy_inference.kinds.chunk_worker import make_worker
from policy_inference.messages.readers import JointOrder
from robot_sim.arm_episodes import ArmRecorder, ArmTrace, Result
from robot_sim.arm_expert import ReachJudge
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import IMAGE_SIZE, JOINTS, ArmSensors, ArmWorld
from robot_sim.driven import NS_PER_S

_STAND_S = 3.0
"""Time allowed to reach RUN, beyond `stand.longest_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachCase:
    """One reach for the cube.

    Attributes:
        seed: Sets the initial poses of cube and arm; see `ArmWorld.reset`.
        duration_s: Time limit of the reach, from RUN on.
        latency_ms: Delay until commands reach the drives.
        inference_ms: Computing time of a chunk.
        stiffness_scale, damping_scale: The drives' gains, relative to the commanded ones.
    """

    seed: int
    duration_s: float
    latency_ms: float = 0.0
    inference_ms: float = 0.0
    stiffness_scale: float = 1.0
    damping_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReachOutcome:
    """Outcome of a reach.

    Attributes:
        succeeded: True if the tip reached the cube and stayed.
        closest_m: Smallest distance between tip and goal; NaN if the policy never ran.
        took_s: Time for which the policy ran, until success.
        signalled: True if the bundle signaled success; None if it has no signal.
        effort_nm, joint_vel: The drives' torques and velocities in RUN, until success [ticks,
            joints].
        stopped_by: Why the policy did not run to the end; empty if it did.
        trace: Recorded trace of the reach.
    """

    succeeded: bool
    closest_m: float
    took_s: float
    signalled: bool | None
    effort_nm: F64
    joint_vel: F64
    stopped_by: str
    trace: ArmTrace


class ControlledArm(SelfOperated):
    """A chunk policy under its controller, which commands the arm in an `ArmWorld`.

    Attributes:
        success: Watches the bundle's success signal, which may end the run; None without a signal.
    """

    def __init__(
        self, bundle: ChunkBundle, models: Mapping[str, Backend], inference_ms: float = 0.0
    ) -> None:
        """Connect the bundle to a controller on simulated time.

        Args:
            bundle: A bundle with a valid contract.
            models: The bundle's opened graphs, which the caller closes.
            inference_ms: Computing time of a chunk, in simulated time.
        """
        super().__init__()
        contract = bundle.contract
        self.image_size = arm_image_size(bundle)
        if outside := contract.environment_state:
            raise ToolError(
                f"{bundle.path}: expected a policy that observes only joints and cameras, found "
                f"one that also observes {outside.topic}"
            )
        self._now_ns, self._period_ns = 0, contract.period_ns
        settings = ChunkSettings(simulated_latency_s=1e-3 * inference_ms)
        worker = make_worker(
            Inference(contract, models, settings).answer,
            lambda: self._now_ns,
            settings,
            inline=True,
        )
        limits = limits_in_force(contract, StricterLimits())
        self._runtime = chunk_controller(bundle, worker, limits, lambda: self._now_ns, settings)
        self.success = success_watch(contract)
        self._names = contract.joints.on_robot()
        self._order = JointOrder(self._names)

    @property
    def mode(self) -> Mode:
        """Mode of the controller."""
        return self._runtime.controller.mode

    @property
    def reason(self) -> str:
        """Reason for the controller's mode."""
        return self._runtime.controller.snapshot().reason

    def tick(self, world: ArmWorld, sensed: ArmSensors) -> JointTargets | None:
        """Sense, act as the operator, and command the drives; return the command, if any."""
        controller, self._now_ns = self._runtime.controller, sensed.time_ns
        now_ns = self._now_ns
        self._order.take(sensed.joint_names, sensed.joint_pos, controller.state["joint_pos"])
        for entry in controller.inputs.values():
            entry.accept(now_ns, now_ns or None, now_ns)
        # No images until the policy runs, since rendering costs more than everything else.
        if controller.mode not in (Mode.DAMP, Mode.STAND):
            for name, buffer in self._runtime.frames.items():
                buffer.add(raw_frame(world.render(name)), now_ns)
        self.operate(controller)
        targets = controller.tick(now_ns, now_ns + self._period_ns)
        self._runtime.chunks.clear()
        if self.success is not None:
            verdict = self.success.observe(controller.latest_tick, self._runtime.policy.success)
            if verdict is not None:
                controller.end_run(verdict, controller.stand)
        if targets is not None:
            world.apply(drive_command(self._names, targets))
        return targets


def arm_image_size(bundle: AnyBundle) -> tuple[int, int]:
    """Return the height and width of the images that a policy for the simulated arm takes."""
    contract = bundle.contract
    cameras = contract.cameras
    if others := sorted(set(cameras) - set(POLICY_CAMERAS)):
        raise ToolError(
            f"{bundle.path}: expected cameras of the simulated arm "
            f"({', '.join(POLICY_CAMERAS)}), found {', '.join(others)}"
        )
    sizes = {(camera.height, camera.width) for camera in cameras.values()}
    if len(sizes) > 1:
        found = " and ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise ToolError(f"{bundle.path}: expected images of one size, found {found}")
    return sizes.pop() if sizes else IMAGE_SIZE


def try_reach(bundle: ChunkBundle, models: Mapping[str, Backend], case: ReachCase) -> ReachOutcome:
    """Let the arm move to its stand pose, then reach for the cube as soon as the policy runs.

    Args:
        bundle: A bundle with a valid contract.
        models: The bundle's opened graphs, which the caller closes.
        case: The reach to try.
    """
    arm = ControlledArm(bundle, models, case.inference_ms)
    world = ArmWorld(seed=case.seed, image_size=arm.image_size)
    try:
        world.latency_ns = round(case.latency_ms * 1e6)
        world.scale_gains(stiffness=case.stiffness_scale, damping=case.damping_scale)
        return _reach(arm, world, case, bundle)
    finally:
        world.close()


def _reach(
    arm: ControlledArm, world: ArmWorld, case: ReachCase, bundle: ChunkBundle
) -> ReachOutcome:
    contract, judge, recorder = bundle.contract, ReachJudge(), ArmRecorder()
    stand_ticks = round((contract.stand.longest_s + _STAND_S) * contract.rate_hz)
    run_ticks = round(case.duration_s * contract.rate_hz)
    efforts, velocities = list[F64](), list[F64]()
    began_ns: int | None = None
    took_s, watch = 0.0, arm.success
    for tick in range(stand_ticks + run_ticks):
        sensed = world.sense()
        if began_ns is None and tick == stand_ticks:
            break
        targets = arm.tick(world, sensed)
        if began_ns is None and arm.mode is Mode.RUN:
            began_ns = sensed.time_ns
        if began_ns is not None and not judge.succeeded:
            efforts.append(sensed.joint_effort)
            velocities.append(sensed.joint_vel)
        recorder.append(
            time_s=sensed.time_ns / NS_PER_S,
            pose=world.pose,
            target=np.full(len(sensed.joint_pos), np.nan) if targets is None else targets.position,
            mode=float("nan") if targets is None else float(targets.mode.value),
            episode=-1 if began_ns is None else 0,
        )
        world.step(contract.period_ns)
        if began_ns is None:
            continue
        ran_s = (world.time_ns - began_ns) / NS_PER_S
        took_s = took_s if judge.succeeded else ran_s
        signalled = watch is None or watch.done
        if (
            (judge.look(world.sense()) and signalled)
            or ran_s >= case.duration_s
            or not (arm.mode in (Mode.RUN, Mode.HOLD) or (watch and watch.done))
        ):
            break
    ran = began_ns is not None
    well = arm.mode in (Mode.RUN, Mode.HOLD) or (watch is not None and watch.done)
    stopped = "" if ran and well else arm.refusal or arm.reason
    result = Result(
        seed=case.seed, succeeded=judge.succeeded, closest_m=judge.closest_m, took_s=took_s
    )
    return ReachOutcome(
        succeeded=judge.succeeded,
        closest_m=judge.closest_m if ran else float("nan"),
        took_s=took_s,
        signalled=None if watch is None else watch.done,
        effort_nm=np.array(efforts).reshape(-1, JOINTS),
        joint_vel=np.array(velocities).reshape(-1, JOINTS),
        stopped_by=stopped,
        trace=recorder.trace([result] if ran else []),
    )


def raw_frame(image: U8) -> Frame:
    """Return an RGB image [height, width, 3] as a topic delivers it: rgb8, rows not padded."""
    height, width, channels = image.shape
    return Frame(
        encoding="rgb8",
        height=height,
        width=width,
        step=channels * width,
        data=memoryview(image.tobytes()),
    )
