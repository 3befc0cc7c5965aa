# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Base class for the computers of emulated robots, without a network and in simulated time.

A host sits between the drives and the network. It steps the world with the robot's faults, moves
the legs slowly on request, passes valid commands to the drives, damps when a watched controller
falls silent, and counts the inputs that it ignores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand, position_command
from robot_sim.faults import Streams
from robot_sim.figures import Array
from robot_sim.host_faults import AnyPlan, HostFault
from robot_sim.world import World

_FOREVER_NS = 10**6 * NS_PER_S
_SORTS_REPORTED = 32
"""Maximum number of `ignored` events, to limit floods."""
_TEMPERATURE_C = 30.0
"""Constant temperature of the drives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvent:
    """Something that happened to a host.

    Attributes:
        time_ns: Time on the world's clock.
        what: `following` (commands with stiffness begin), `damped` (they end), `watchdog`,
            `ignored` (the first input of each sort that has no effect), `stopped`, `started`, or an
            event defined by the host's own module.
        who: The sender or the reason; empty if neither applies.
    """

    time_ns: int
    what: str
    who: str


class RobotHost:
    """The robot's onboard computer.

    Attributes:
        world: The robot.
        plan: Planned faults; `adopt` replaces them.
        target: Position targets [n], rad, while a controller commands stiffness; otherwise None.
        ignored: Number of ignored inputs, by kind.
        on_event: Called with each event.
    """

    def __init__(
        self,
        world: World,
        *,
        ignores: Sequence[str],
        watchdog_s: float,
        plan: AnyPlan,
    ) -> None:
        """Switch on; the drives damp.

        Args:
            world: The robot; only this host may command it.
            ignores: Kinds of inputs that are ignored.
            watchdog_s: Silence after which `_on_silence` is called; 0 for never.
            plan: Initial plan, without faults.
        """
        self.world, self.plan = world, plan
        self.on_event: Callable[[HostEvent], object] = lambda event: None
        self.target: Array | None = None
        self.ignored = dict.fromkeys(ignores, 0)
        self._reported: set[str] = set()
        self._watchdog_ns = round(watchdog_s * NS_PER_S)
        self._on, self._started_ns = True, world.time_ns
        self._heard_ns: int | None = None
        """Time of the newest command from the watched controller; None if none is watched."""
        self._following = False
        self._motion: _Motion | None = None
        self._temperature_c = np.full(len(world.joint_names), _TEMPERATURE_C)

    def stop(self) -> None:
        """Switch the host off: it neither receives nor sends, control ends, and the drives damp."""
        self._damp("stopped", "")
        self._on = False

    def start(self) -> None:
        """Switch the host on again; its tick starts at 0."""
        self._on, self._started_ns = True, self.world.time_ns
        self._say("started", "")

    def receive(self, *arrived: Any, **_: Any) -> None:
        """Handle a message from the network; each host defines the arguments."""
        raise NotImplementedError

    def adopt(self, plan: AnyPlan) -> None:
        """Replace the fault plan; active faults of the host end."""
        for fault in self.plan.end():
            self._end(fault)
        self.plan = plan

    def act(self) -> None:
        """Begin and end the host's own faults as they fall due; call before each step."""
        for fault, begins in self.plan.changes(self.world.time_ns):
            (self._begin if begins else self._end)(fault)

    def _begin(self, fault: HostFault) -> None:
        if fault.kind == "restart":
            self.stop()

    def _end(self, fault: HostFault) -> None:
        if fault.kind == "restart":
            self.start()

    def _advance(self) -> Streams | None:
        """Advance by one physics step.

        Returns:
            The sensor output after it; None while the host is off.
        """
        now_ns = self.world.time_ns
        if (
            self._heard_ns is not None
            and self._watchdog_ns
            and now_ns - self._heard_ns >= self._watchdog_ns
        ):
            self._on_silence()
        if self._motion is not None:
            self._go_on_moving(self._motion, now_ns)
        self.plan.robot.act(self.world)
        self.world.advance(1)
        truth = self.world.sense()
        streams = self.plan.robot.apply(truth)
        return streams if self._on else None

    def _on_silence(self) -> None:
        """React to the silence of a watched controller; by default, damp."""
        self._damp("watchdog", "")

    def _move(
        self,
        pose: Array,
        duration_ns: int,
        *,
        stiffness: npt.ArrayLike,
        damping: npt.ArrayLike,
    ) -> None:
        """From now on, move the joints in a straight line to a pose [n], rad, and hold it."""
        self._motion = _Motion(
            began_ns=self.world.time_ns,
            duration_ns=duration_ns,
            start=self.world.sense().joint_pos,
            pose=pose,
            stiffness=stiffness,
            damping=damping,
        )

    def _go_on_moving(self, motion: "_Motion", now_ns: int) -> None:
        part = (now_ns - motion.began_ns) / motion.duration_ns
        self.world.apply(
            position_command(
                motion.start + min(part, 1.0) * (motion.pose - motion.start),
                stiffness=motion.stiffness,
                damping=motion.damping,
                joint_names=self.world.joint_names,
                valid_for_ns=_FOREVER_NS,
            )
        )
        if part >= 1.0:
            self._motion = None

    def _command(
        self,
        *,
        position: Array,
        velocity: Array,
        effort: Array,
        stiffness: Array,
        damping: Array,
        who: str,
    ) -> None:
        """Give a controller's command (arrays [n]) to the drives; it holds until the next one."""
        self.world.apply(
            DriveCommand(
                joint_names=self.world.joint_names,
                position=position,
                velocity=velocity,
                effort=effort,
                stiffness=stiffness,
                damping=damping,
                effort_limit=self.world.effort_limit_nm,
                valid_for_ns=_FOREVER_NS,
            )
        )
        follows = bool(stiffness.any())
        self._motion, self._heard_ns = None, self.world.time_ns
        self.target = position if follows else None
        if follows != self._following:
            self._following = follows
            self._say("following" if follows else "damped", who)

    def _damp(self, what: str, who: str) -> None:
        """Damp, with an event that states why; stop watching the controller."""
        self._motion, self.target, self._heard_ns = None, None, None
        self.world.expire()
        self._say(what, who)
        if self._following:
            self._following = False
            self._say("damped", what)

    def _ignore(self, kind: str, what: str, source: str = "") -> None:
        """Count an ignored input; report the first of each sort."""
        self.ignored[kind] += 1
        sort = f"{kind}: {what}"
        if sort not in self._reported and len(self._reported) < _SORTS_REPORTED:
            self._reported.add(sort)
            self._say("ignored", f"{sort} from {source}" if source else sort)

    def _say(self, what: str, who: str) -> None:
        self.on_event(HostEvent(time_ns=self.world.time_ns, what=what, who=who))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Motion:
    """A slow motion in progress; arrays [n], rad."""

    began_ns: int
    duration_ns: int
    start: Array
    pose: Array
    stiffness: npt.ArrayLike
    damping: npt.ArrayLike
