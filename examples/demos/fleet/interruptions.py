# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Interrupts roll-outs at random times (registry, network or power), and records the aftermath."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from examples.demos.fleet.candidates import ReleaseCandidate
from examples.demos.fleet.fleet import BUNDLE, CANARY, PRODUCTION, Fleet
from examples.demos.fleet.releases import ReleaseManager
from examples.demos.fleet.robot import DemoRobot
from examples.demos.runner import progress
from robot_sim.errors import SimError

KINDS = ("registry", "network", "power")
_PER_ROLLOUT = 4
_FIRST_S, _LAST_S = 2.0, 60.0
"""Earliest and latest time of an interruption, from the start of a roll-out."""
_LONGEST_OUTAGE_S = 5.0
_SOME_LEFT = 3
"""Exit status of `rollout` if some robots were unreachable and must be rolled back later."""
_ENDED_WITHIN_S = 600.0
_HEALTHY_WITHIN_S = 45.0
_RECOVERED_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """An interruption of a roll-out.

    Attributes:
        kind: registry, network or power.
        robot: Robot that lost its network or power; empty for the registry.
        rollout: Version being rolled out.
        after_s: Time from the start of the roll-out.
        outage_s: Duration of the outage.
        killed: Number of the robot's processes that a power cut killed.
    """

    kind: str
    robot: str
    rollout: str
    after_s: float
    outage_s: float
    killed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """Result of a roll-out with interruptions.

    Attributes:
        rollout: Version being rolled out.
        status: Exit status of `rollout`: 0 done, 1 rolled back, 3 some robots could not be rolled
            back.
        versions: Version that each robot runs at the end, by robot.
        on_known_version: Number of robots that run their store's version from a complete store.
        walking: Number of robots that walk with the version that their own store names.
    """

    rollout: str
    status: int
    versions: dict[str, str]
    on_known_version: int
    walking: int


class Interrupter:
    """Interrupts roll-outs. The same seed causes the same interruptions at the same times."""

    def __init__(self, fleet: Fleet, releases: ReleaseManager, seed: int) -> None:
        """Prepare to interrupt roll-outs to a fleet whose robots are walking."""
        self._fleet, self._releases = fleet, releases
        self._random = random.Random(seed)
        self._kinds = list[str]()
        self._repairs = dict[str, threading.Thread]()
        self.interruptions = list[Interruption]()
        self.aftermaths = list[Aftermath]()

    def run(self, count: int, make: Callable[[int], ReleaseCandidate]) -> None:
        """Interrupt roll-outs until `count` interruptions have occurred.

        Args:
            count: Number of interruptions.
            make: Function that returns a good candidate, given the roll-out's number, which starts
                at 0.
        """
        while len(self.interruptions) < count:
            candidate = make(len(self.aftermaths))
            wanted = min(_PER_ROLLOUT, count - len(self.interruptions))
            self._interrupt(candidate, self._fleet.publish(candidate), wanted)

    def _interrupt(self, candidate: ReleaseCandidate, digest: str, count: int) -> None:
        fleet = self._fleet
        progress.info(
            "%5.0f s  %s (%s): roll-out with %d interruptions",
            fleet.timeline.now_s,
            candidate.version,
            candidate.title,
            count,
        )
        fleet.timeline.add("stage", f"{candidate.version} roll-out")
        waves = [CANARY, PRODUCTION] if fleet.others else [CANARY]
        trial = self._releases.trials[PRODUCTION]
        rollout = fleet.roll_out(candidate.version, digest, trial, waves, wait_s=_HEALTHY_WITHIN_S)
        began_s = time.monotonic()
        moments = sorted(self._random.uniform(_FIRST_S, _LAST_S) for _ in range(count))
        try:
            for moment_s in moments:
                time.sleep(max(0.0, began_s + moment_s - time.monotonic()))
                self._one(candidate.version, time.monotonic() - began_s)
            for repair in self._repairs.values():
                repair.join()
            status = rollout.wait(_ENDED_WITHIN_S)
        finally:
            rollout.stop()
        if status == _SOME_LEFT and fleet.take_back(candidate.version):
            progress.error("%s: not all robots could be rolled back", candidate.version)
        self._look(candidate, status)

    def _one(self, rollout: str, after_s: float) -> None:
        """Cause an interruption, and repair it a little later."""
        if not self._kinds:
            self._kinds = [*KINDS]
            self._random.shuffle(self._kinds)
        kind, outage_s = self._kinds.pop(), self._random.uniform(1.0, _LONGEST_OUTAGE_S)
        robot = self._random.choice([*self._fleet.robots.values()])
        name = "" if kind == "registry" else robot.name
        if name in self._repairs:  # a broken part is not broken again
            self._repairs[name].join()
        killed, repair = self._break(kind, robot)
        self._fleet.timeline.add(kind, "", name)
        progress.info("%5.0f s  %s %s", self._fleet.timeline.now_s, kind, name)
        self.interruptions.append(
            Interruption(
                kind=kind,
                robot=name,
                rollout=rollout,
                after_s=round(after_s, 2),
                outage_s=round(outage_s, 2),
                killed=killed,
            )
        )

        def repair_later() -> None:
            time.sleep(outage_s)
            repair()

        thread = threading.Thread(target=repair_later, name=f"repair of {kind}")
        thread.start()
        self._repairs[name] = thread

    def _break(self, kind: str, robot: DemoRobot) -> tuple[int, Callable[[], None]]:
        """Break something; return the number of killed processes and a function that repairs it."""
        if kind == "registry":
            self._fleet.registry.kill()
            return 1, self._fleet.registry.start
        if kind == "network":
            robot.cut_network()
            return 0, robot.restore_network
        return robot.power_cut(), robot.power_on

    def _look(self, candidate: ReleaseCandidate, status: int) -> None:
        fleet = self._fleet
        try:
            fleet.wait_until_all_walk(within_s=_RECOVERED_WITHIN_S)
        except SimError as error:
            progress.error("%s", error)
        robots = fleet.robots.values()
        found = Aftermath(
            rollout=candidate.version,
            status=status,
            versions={robot.name: robot.view.version for robot in robots},
            on_known_version=sum(self._is_known(robot) for robot in robots),
            walking=len(fleet.walking()),
        )
        self.aftermaths.append(found)
        progress.info(
            "%5.0f s  roll-out of %s ended with status %d; %d of %d robots on a known version, %d "
            "walking",
            fleet.timeline.now_s,
            candidate.version,
            status,
            found.on_known_version,
            len(robots),
            found.walking,
        )

    def _is_known(self, robot: DemoRobot) -> bool:
        """Return whether a robot runs its store's version and the store is complete."""
        words = ("verify", BUNDLE, "--root", robot.models)
        whole = self._fleet.run(*words, accepted=(0, 1, 4), environment=robot.environment)
        is_wanted = robot.view.version == robot.wanted_version
        return whole.returncode == 0 and is_wanted and robot.wanted_version in self._fleet.published
