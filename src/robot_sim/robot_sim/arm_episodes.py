# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the arm: success criterion, results, and the trace of a run."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from robot_sim.arm_expert import ReachJudge
from robot_sim.arm_world import ArmSensors
from robot_sim.driven import NS_PER_S
from robot_sim.figures import Array
from robot_sim.trace import StoredArrays


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTrace(StoredArrays):
    """Rows of a run, one per tick, and the episodes in it.

    Attributes:
        time_s: Simulated time [T].
        pose: Rows of `ArmWorld.pose` [T, 13].
        target: Commanded joint positions [T, 6], rad; NaN where there was no command.
        mode: Mode of the latest command [T], as numbered in policy_msgs/JointCommand, or NaN.
        episode: Episode to which each row belongs [T], from 0; -1 between episodes.
        seed: Seed of each episode [E].
        succeeded: True for each episode that succeeded [E].
        closest_m: Smallest distance between tip and goal in each episode [E], m.
        took_s: Duration of each episode [E], s.
    """

    time_s: Array
    pose: Array
    target: Array
    mode: Array
    episode: npt.NDArray[np.int64]
    seed: npt.NDArray[np.int64]
    succeeded: npt.NDArray[np.bool_]
    closest_m: Array
    took_s: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome of an episode."""

    seed: int
    succeeded: bool
    closest_m: float
    took_s: float


@dataclass(frozen=True, slots=True)
class ArmRecorder:
    """Collects the rows of an `ArmTrace`."""

    _rows: list[tuple[float, Array, Array, float, int]] = field(default_factory=list)

    def append(
        self, *, time_s: float, pose: Array, target: Array, mode: float, episode: int
    ) -> None:
        """Add a row; the arguments correspond to the attributes of `ArmTrace`."""
        self._rows.append((time_s, pose, target, mode, episode))

    def trace(self, results: list[Result]) -> ArmTrace:
        time_s, pose, target, mode, episode = zip(*self._rows, strict=True)
        return ArmTrace(
            time_s=np.array(time_s),
            pose=np.stack(pose),
            target=np.stack(target),
            mode=np.array(mode),
            episode=np.array(episode),
            seed=np.array([each.seed for each in results], dtype=np.int64),
            succeeded=np.array([each.succeeded for each in results], dtype=bool),
            closest_m=np.array([each.closest_m for each in results], dtype=float),
            took_s=np.array([each.took_s for each in results], dtype=float),
        )


class Episodes:
    """Judges episodes on one thread; another thread may request the next one."""

    def __init__(self, seed: int, longest_ns: int) -> None:
        """Wait for the first episode.

        Args:
            seed: Seed of the first episode; each later episode uses the next number.
            longest_ns: Maximum duration of an episode.
        """
        self.results: list[Result] = []
        self._seed = self._asked = seed
        self._longest_ns = longest_ns
        self._waiting = True
        self._began_ns = -1
        self._judge: ReachJudge | None = None

    @property
    def under_way(self) -> int:
        """Number of the current episode, from 0; -1 between episodes."""
        return -1 if self._judge is None else len(self.results)

    def next(self) -> int:
        """Request the next episode and return its seed."""
        self._asked += 1
        return self._asked

    def cube_to_move(self, now_ns: int) -> int | None:
        """Return the seed of a requested episode, once per request; otherwise None.

        An episode that is still running ends, and counts as failed.
        """
        if self._asked == self._seed:
            return None
        if self._judge is not None:
            self._end(self._judge, now_ns)
        self._seed, self._waiting = self._asked, True
        return self._seed

    def look(self, sensed: ArmSensors, *, running: bool) -> Result | None:
        """Update from one moment of the simulation.

        Args:
            sensed: State of the world.
            running: True if the policy moves the arm.

        Returns:
            The result, if an episode has just ended.
        """
        if self._waiting and running:
            self._waiting, self._began_ns, self._judge = False, sensed.time_ns, ReachJudge()
        if self._judge is None:
            return None
        reached = self._judge.look(sensed)
        if not reached and sensed.time_ns - self._began_ns < self._longest_ns:
            return None
        return self._end(self._judge, sensed.time_ns)

    def _end(self, judge: ReachJudge, now_ns: int) -> Result:
        """Store the result of the current episode."""
        result = Result(
            seed=self._seed,
            succeeded=judge.succeeded,
            closest_m=judge.closest_m,
            took_s=(now_ns - self._began_ns) / NS_PER_S,
        )
        self._judge = None
        self.results.append(result)
        return result
