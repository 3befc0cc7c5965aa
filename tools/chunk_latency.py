# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Smoothness of an arm's motion with slow inference: table and plot of docs/act.md.

    python -m tools.chunk_latency BUNDLE --image docs/images/chunk_borders.png

Each episode runs in the simulated world in simulated time, without ROS: real graphs and the real
queue, an inference of the given duration, and the contract's limit of a target's speed.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from examples.demos.plots import BLUE, GREY, ORANGE, STYLE
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import NoTargetError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend
from policy_core.members.chunk.controller import camera_input, chunk_controller
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkMode, ChunkSettings
from policy_core.observation.images import Frame
from policy_inference.backends.registry import open_models
from policy_inference.kinds.chunk_worker import make_worker
from robot_sim.arm_expert import EPISODE_NS, ReachJudge
from robot_sim.arm_figures import SO101
from robot_sim.arm_world import ArmWorld, arm_command

WAYS: dict[str, tuple[ChunkMode, float, str]] = {
    "rtc": ("rtc", 0.0, BLUE),
    "fade": ("asynchronous", 0.2, ORANGE),
    "none": ("asynchronous", 0.0, GREY),
}
"""Ways to continue with a new chunk: mode, fade in s, colour."""
_JOINT = "shoulder_pan"
_SHOWN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """Episodes of a policy with one way to continue with a new chunk and one latency.

    Attributes:
        bundle: Name of the policy.
        way: One of `WAYS`.
        latency_s: Duration of an inference.
        succeeded: Number of successful episodes.
        episodes: Number of episodes.
        border_rad: Mean step of the fastest joint at the start of a new chunk, rad.
        step_rad: The same of all other steps, rad.
        acceleration: 99th percentile of the commands' acceleration, any joint, rad/s^2.
        held_share: Share of ticks without a target.
    """

    bundle: str
    way: str
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
        """Connect policy and world; inference takes `settings.simulated_latency_s`."""
        contract = bundle.contract
        self._world, self._settings = ArmWorld(), settings
        self._worker = make_worker(
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
        self._world.close()

    def run(self, seed: int) -> tuple[bool, F64, list[int], int]:
        """Return success, commands [ticks, joints], ticks with new chunks, held ticks."""
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
        """Pass joints to the policy, and frames if an inference may begin."""
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


def measure(
    path: Path, backend: str, ways: Sequence[str], latencies_s: Sequence[float], episodes: int
) -> Iterator[tuple[LatencyRow, F64]]:
    """Yield a row for each way and latency, with the commands [ticks, joints] of one episode."""
    bundle = load_bundle(path, kind=ChunkBundle)
    with open_models(bundle.models, [backend]) as models:
        for latency_s in latencies_s:
            for way in ways:
                mode, fade_s, _ = WAYS[way]
                settings = ChunkSettings(
                    mode=mode, fade_s=fade_s, simulated_latency_s=latency_s, refill_threshold=0.99
                )
                with closing(EpisodeRunner(bundle, dict(models), settings)) as runner:
                    ran = [runner.run(seed) for seed in range(1, episodes + 1)]
                yield _row(bundle, way, latency_s, ran), ran[_SHOWN - 1][1]


def _row(
    bundle: ChunkBundle,
    way: str,
    latency_s: float,
    ran: Sequence[tuple[bool, F64, list[int], int]],
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
        way=way,
        latency_s=latency_s,
        succeeded=sum(succeeded for succeeded, *_ in ran),
        episodes=len(ran),
        border_rad=float(np.mean(at_borders)) if at_borders else 0.0,
        step_rad=float(np.mean(others)),
        acceleration=float(np.quantile(np.concatenate(accelerations), 0.99)),
        held_share=sum(held for *_, held in ran) / ticks,
    )


def draw(measured: Sequence[tuple[LatencyRow, F64]], rate_hz: float, path: Path) -> None:
    """Write the image: a joint's commands in one episode, and the results of all, by latency."""
    latencies_s = sorted({row.latency_s for row, _ in measured})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.0), layout="constrained")
        axes = figure.subplots(2, len(latencies_s), sharey="row", squeeze=False)
        for axis, bars, latency_s in zip(*axes, latencies_s, strict=True):
            cells = [cell for cell in measured if cell[0].latency_s == latency_s]
            for row, commands in cells:
                angles = np.degrees(commands[:, SO101.joint_names.index(_JOINT)])
                time_s = np.arange(len(angles)) / rate_hz
                axis.plot(time_s, angles, color=WAYS[row.way][2], linewidth=1.1, label=row.way)
            axis.set_title(f"inference of {1e3 * latency_s:.0f} ms")
            axis.set_xlabel("simulated time [s]")
            names = [row.way for row, _ in cells]
            values = [row.acceleration for row, _ in cells]
            colours = [WAYS[name][2] for name in names]
            bars.bar_label(bars.bar(names, values, color=colours), fmt="%.0f")
        axes[0][0].set_ylabel(f"commanded {_JOINT} [°], seed {_SHOWN}")
        axes[1][0].set_ylabel("acceleration p99 [rad/s²]")
        axes[0][-1].legend(loc="lower right")
        figure.savefig(path, dpi=130)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", default="onnx")
    parser.add_argument("--way", choices=tuple(WAYS), nargs="+", default=list(WAYS))
    parser.add_argument("--latency", type=float, nargs="+", default=[0.1, 0.3, 0.6], help="s")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--image", type=Path, help="also draw a plot into this file")
    given = parser.parse_args(args)
    writer = csv.writer(sys.stdout)
    writer.writerow([field.name for field in fields(LatencyRow)])
    measured = list[tuple[LatencyRow, F64]]()
    for row, commands in measure(
        given.bundle, given.backend, given.way, given.latency, given.episodes
    ):
        writer.writerow(astuple(row))
        sys.stdout.flush()
        measured.append((row, commands))
    if given.image is not None:
        draw(measured, load_bundle(given.bundle, kind=ChunkBundle).contract.rate_hz, given.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
