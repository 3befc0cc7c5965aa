# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The person who operates the robot."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from policy_msgs.srv import SetAuthority

from policy_core.interfaces import Mode
from robot_driver.interfaces import DriverPhase
from robot_operator.nodes.settings import PARAMETERS, pilot_settings
from robot_operator.pilot import ASKING, CONFIRM, Pilot
from robot_operator.requests import MOVING, OF_DIAL, OperatorRequest
from tools.chaos.steps import RESTS, ChaosStep
from tools.chaos.timeline import NS_PER_S, VirtualTimeline

OF_SCRIPTS = ("load", "authority", "switch", *RESTS)
"""Requests that have no key and come from scripts."""
_PRESSED_AGAIN_NS, _CONFIRMED_NS = 100_000_000, 200_000_000
_RUNS_ASKED = 6
"""Number of requests to run, one after another, after which the operator gives control back."""


def authority_request(name: str, share: float) -> SetAuthority.Request:
    """Return the request for `authority`, or for one of `RESTS`, which concern one leg."""
    part = {} if name == "authority" else {"joints": ["FL_*"], "rest": RESTS[name]}
    return SetAuthority.Request(authority=share, **part)


class ChaosOperator:
    """A person at the keyboard who wants the robot to walk and starts over after each fault.

    Uses the pilot of `robot_operator`, and sends the pilot's requests and velocity.
    """

    def __init__(
        self,
        timeline: VirtualTimeline,
        chance: Random,
        send: Callable[[str, float], object],
        steer: Callable[[float, float, float], object],
    ) -> None:
        settings = {spec.name: spec.default for spec in PARAMETERS}
        self._pilot = Pilot(pilot_settings(settings))
        self._timeline, self._chance, self._send, self._steer = timeline, chance, send, steer
        self._mode, self._latched, self._authority = Mode.DAMP, False, 1.0
        self._phase = DriverPhase.LISTENING
        self._runs_asked = 0
        timeline.every(NS_PER_S // 20, self._step)
        timeline.after(NS_PER_S, self._go_on)

    def hear(self, mode: Mode, latched: bool, authority: float) -> None:
        self._mode, self._latched, self._authority = mode, latched, authority

    def hear_driver(self, phase: DriverPhase) -> None:
        self._phase = phase

    def _go_on(self) -> None:
        """Make the next request on the way to RUN; schedule the next call."""
        mode, phase = self._mode, self._phase
        wanted = ""
        if phase is DriverPhase.LISTENING:
            # The driver's e-stop may be pressed; a restarted host does not know that.
            begin = self._chance.choice(["take_control", "take_control", "reset"])
            wanted = begin if mode is Mode.DAMP else "damp"
        elif mode is Mode.DAMP and (self._latched or phase is DriverPhase.DAMPING):
            # A robot that holds its pose is sent no command before it is asked to `damp`.
            wanted = "reset" if self._latched else self._chance.choice(["reset", "damp"])
        elif mode is Mode.DAMP and phase is DriverPhase.FOLLOWING:
            wanted = "stand"
        elif mode is Mode.READY:
            # A robot that does not stand up may not have heard that control was taken.
            self._runs_asked += 1
            wanted = "run" if self._runs_asked % _RUNS_ASKED else "release_control"
        elif mode is Mode.RUN:
            self._runs_asked = 0
        if wanted:
            self.press(OperatorRequest(wanted))
        self._timeline.after(round(self._chance.uniform(0.2, 0.8) * NS_PER_S), self._go_on)

    def ask(self, step: ChaosStep) -> None:
        """Press the keys for a request; send a request without keys as a script would."""
        if step.target in OF_SCRIPTS:
            self._send(step.target, step.value)
            return
        self.press(OperatorRequest(step.target))

    def press(self, request: OperatorRequest) -> None:
        key = next(key for key, asked in ASKING.items() if asked is request)
        self._press(key)
        if request in MOVING:
            self._timeline.after(_CONFIRMED_NS, lambda: self._press(CONFIRM))

    def drive(self, key: str, for_ns: int) -> None:
        """Hold down a driving key."""
        for at_ns in range(0, for_ns, _PRESSED_AGAIN_NS):
            self._timeline.after(at_ns, lambda: self._press(key))

    def steer(self, speed: float, for_ns: int) -> None:
        """Command the same speed on all axes, without limits, as a script may."""
        for at_ns in range(0, for_ns, _PRESSED_AGAIN_NS):
            self._timeline.after(at_ns, lambda: self._steer(speed, speed, speed))

    def _press(self, key: str) -> None:
        for request in self._pilot.press(key, self._timeline.now_ns):
            if request in OF_DIAL:
                share = min(max(self._authority + OF_DIAL[request], 0.0), 1.0)
                self._send("authority", share)
            else:
                self._send(request.value, 0.0)

    def _step(self) -> None:
        running = self._mode in (Mode.RUN, Mode.HOLD)
        vx, vy, wz = self._pilot.step(self._timeline.now_ns, driving=running)
        if running:
            self._steer(vx, vy, wz)
