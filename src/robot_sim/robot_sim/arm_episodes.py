# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the arm one after another: when each begins, when it is over, how it ended."""

from robot_sim.arm_expert import ReachJudge
from robot_sim.arm_trace import Result
from robot_sim.arm_world import ArmSensors
from robot_sim.driven import NS_PER_S


class Episodes:
    """Judges episodes on one thread; another may ask for the next."""

    def __init__(self, seed: int, longest_ns: int) -> None:
        """Wait for the first.

        Args:
            seed: Of the first; each next one has the number after.
            longest_ns: Time in which an episode has to succeed.
        """
        self.results: list[Result] = []
        self._seed = self._asked = seed
        self._longest_ns = longest_ns
        self._waiting = True
        self._began_ns = -1
        self._judge: ReachJudge | None = None

    @property
    def under_way(self) -> int:
        """Number of the episode that is under way, from 0 on; -1 if none is."""
        return -1 if self._judge is None else len(self.results)

    def next(self) -> int:
        """Ask for the next episode and return its seed."""
        self._asked += 1
        return self._asked

    def cube_to_move(self, now_ns: int) -> int | None:
        """Return the seed of a new episode, once; one that is under way has failed."""
        if self._asked == self._seed:
            return None
        if self._judge is not None:
            self._end(self._judge, now_ns)
        self._seed, self._waiting = self._asked, True
        return self._seed

    def look(self, sensed: ArmSensors, *, running: bool) -> Result | None:
        """Look at one moment.

        Args:
            sensed: The world.
            running: Whether the policy moves the arm.

        Returns:
            The result of an episode that is over now.
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
        """Keep the result of the episode under way."""
        result = Result(
            seed=self._seed,
            succeeded=judge.succeeded,
            closest_m=judge.closest_m,
            took_s=(now_ns - self._began_ns) / NS_PER_S,
        )
        self._judge = None
        self.results.append(result)
        return result
