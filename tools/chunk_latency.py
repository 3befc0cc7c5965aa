# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How smoothly an arm moves where inference is slow: the table of docs/real_time_chunking.md.

    python -m tools.chunk_latency config/bundles/so101_reach_flow --mode rtc --latency 0.1 0.3 0.6

Each episode runs in the simulated world in simulated time, without ROS: real graphs and the real
queue, an inference that takes as long as asked for, and the contract's bound of a target's speed.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.chunks.controller import camera_input, chunk_controller, worker_of
from policy_inference.core.chunks.graphs import Inference
from policy_inference.core.chunks.settings import CHUNK_MODES, ChunkSettings
from policy_inference.core.images import Frame
from policy_inference.core.limits import StricterLimits, limits_in_force
from policy_inference.errors import NoTargetError
from policy_inference.interfaces import F64, Backend
from robot_sim.arm_expert import EPISODE_NS, ReachJudge
from robot_sim.arm_world import ArmWorld, arm_command


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """Episodes of a policy in one mode with one latency.

    Attributes:
        bundle: Name of the policy.
        mode: How chunks are executed.
        fade_s: Of mode asynchronous.
        latency_s: How long an inference takes.
        succeeded: Episodes that did.
        episodes: How many there were.
        border_rad: Mean step of the fastest joint where a new chunk begins, rad.
        step_rad: The same of all other steps, rad.
        acceleration: 99th percentile of the commands' acceleration, any joint, rad/s^2.
        held_share: Share of ticks without a target.
    """

    bundle: str
    mode: str
    fade_s: float
    latency_s: float
    succeeded: int
    episodes: int
    border_rad: float
    step_rad: float
    acceleration: float
    held_share: float


class EpisodeRunner:
    """Runs a bundle in the world, one episode after another."""

    def __init__(
        self, bundle: ChunkBundle, models: dict[str, Backend], settings: ChunkSettings
    ) -> None:
        """Tie policy and world together; inference takes `settings.simulated_latency_s`."""
        contract = bundle.contract
        self._world, self._settings = ArmWorld(), settings
        self._worker = worker_of(
            Inference(contract, models, settings).answer, self._clock, settings, inline=True
        )
        self._runtime = chunk_controller(
            bundle,
            self._worker,
            limits_in_force(contract, StricterLimits()),
            self._clock,
            settings,
            expected_s=settings.simulated_latency_s,
        )
        self._period_ns, self._rate_hz = contract.period_ns, contract.rate_hz

    def _clock(self) -> int:
        return self._world.time_ns + 1_000_000_000

    def close(self) -> None:
        """Close the world."""
        self._world.close()

    def run(self, seed: int) -> tuple[bool, F64, list[int], int]:
        """Return success, commands [ticks, joints], ticks in which chunks came, ticks held."""
        world, policy, judge = self._world, self._runtime.policy, ReachJudge()
        world.reset(seed=seed)
        policy.reset()
        for buffer in self._runtime.frames.values():
            buffer.clear()
        sensed = world.sense()
        policy.action.command[:] = command = sensed.joint_pos.copy()
        commands, arrivals, held, seen = list[F64](), list[int](), 0, 0
        while not judge.look(world.sense()) and world.time_ns < EPISODE_NS:
            self._sense()
            try:
                policy.infer()
                command = policy.commit().copy()
            except NoTargetError:
                policy.pause(self._period_ns)
                held += 1
            if (count := len(policy.chunks)) > 0:
                seen += count
                policy.chunks.clear()
                if seen > 1:
                    arrivals.append(len(commands))
            commands.append(command)
            world.apply(arm_command(command))
            world.advance(round(world.steps_per_s / self._rate_hz))
        return judge.succeeded, np.array(commands), arrivals, held

    def _sense(self) -> None:
        """Bring joints, and frames where an inference may begin."""
        controller, now_ns = self._runtime.controller, self._clock()
        controller.state["joint_pos"][:] = self._world.sense().joint_pos
        controller.inputs["joint_states"].accept(now_ns)
        for name, buffer in self._runtime.frames.items():
            image = np.ascontiguousarray(self._world.render(name))
            height, width = image.shape[:2]
            data = memoryview(image.tobytes())
            frame = Frame(encoding="rgb8", height=height, width=width, step=3 * width, data=data)
            buffer.add(frame, now_ns)
            controller.inputs[camera_input(name)].accept(now_ns)


def rows(
    path: Path, mode: str, fade_s: float, latencies_s: Sequence[float], episodes: int
) -> Iterator[LatencyRow]:
    """Yield a row for each latency."""
    bundle = load_bundle(path, kind=ChunkBundle)
    with open_models(bundle.models, ["onnx"]) as models:
        for latency_s in latencies_s:
            settings = ChunkSettings(
                mode=mode,  # type: ignore[arg-type]  # one of the choices
                fade_s=fade_s,
                simulated_latency_s=latency_s,
                refill_threshold=0.99,
            )
            with closing(EpisodeRunner(bundle, dict(models), settings)) as runner:
                ran = [runner.run(seed) for seed in range(1, episodes + 1)]
            yield _row(bundle, settings, ran)


def _row(
    bundle: ChunkBundle, settings: ChunkSettings, ran: Sequence[tuple[bool, F64, list[int], int]]
) -> LatencyRow:
    rate_hz = bundle.contract.rate_hz
    at_borders, others, accelerations = list[float](), list[float](), list[F64]()
    for _, commands, arrivals, _ in ran:
        steps = np.abs(np.diff(commands, axis=0)).max(axis=1)
        borders = [tick - 1 for tick in arrivals if 0 < tick <= len(steps)]
        at_borders += steps[borders].tolist()
        others += np.delete(steps, borders).tolist()
        accelerations.append(np.abs(np.diff(commands, n=2, axis=0)).ravel() * rate_hz**2)
    ticks = sum(len(commands) for _, commands, _, _ in ran)
    return LatencyRow(
        bundle=bundle.contract.name,
        mode=settings.mode,
        fade_s=settings.fade_s,
        latency_s=settings.simulated_latency_s,
        succeeded=sum(succeeded for succeeded, *_ in ran),
        episodes=len(ran),
        border_rad=float(np.mean(at_borders)) if at_borders else 0.0,
        step_rad=float(np.mean(others)),
        acceleration=float(np.quantile(np.concatenate(accelerations), 0.99)),
        held_share=sum(held for *_, held in ran) / ticks,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--mode", choices=CHUNK_MODES, default="rtc")
    parser.add_argument("--fade", type=float, default=0.2, help="of mode asynchronous, s")
    parser.add_argument("--latency", type=float, nargs="+", default=[0.1, 0.3, 0.6], help="s")
    parser.add_argument("--episodes", type=int, default=40)
    given = parser.parse_args(args)
    writer = csv.writer(sys.stdout)
    writer.writerow([field.name for field in fields(LatencyRow)])
    for row in rows(given.bundle, given.mode, given.fade, given.latency, given.episodes):
        writer.writerow(astuple(row))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
