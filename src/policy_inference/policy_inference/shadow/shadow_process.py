# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow policy in a process of its own: nothing that it does reaches the control thread.

It opens the bundle as a policy is opened that is to be loaded, proves it on its golden rows, and
then runs only when no other process wants the core (SCHED_IDLE).
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from policy_inference.backends.child import OPEN_TIMEOUT_S
from policy_inference.backends.child_process import ChildProcess, talk_through
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.core.limits import StricterLimits, limits_in_force
from policy_inference.core.state import StateVector
from policy_inference.errors import PolicyError, RefusedError
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.interfaces import F64
from policy_inference.kinds.joint import JointKind, OpenedJointPolicy
from policy_inference.kinds.opening import OpenRequest
from policy_inference.kinds.parity import require_parity
from policy_inference.machine.scheduling import threads_of
from policy_inference.processes import end_with_parent
from policy_inference.shadow.shadow_policy import ShadowMode, ShadowPolicy, require_comparable
from policy_inference.shadow.slots import SLOTS, Slots

LATE_TICKS = SLOTS // 2
"""So many ticks may wait before the shadow skips some."""
_MOST_ANSWERS = 4
"""So many are taken in a tick: those of a shadow that has caught up must not come all at once."""
_LOOK_S = 0.1
"""How often the opening process is looked at, whether it has ended."""
_LAST_WORDS_S = 0.5
_SILENT_S = 2.0
"""So long without an answer that is owed is reported."""
_ABOUT = "shadow.json"
"""In the process's folder: what it found when it opened the bundle."""


class ShadowFacts(NamedTuple):
    """What runs in a shadow's process: the fields of policy_msgs/ShadowStatus."""

    bundle: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    backend: str
    runs_on: str
    mode: str


class ShadowProcess:
    """The process of a shadow, at the end of the node whose active policy it is compared with.

    `give` and `take` belong to the control thread, between `start` and the end of its loop.

    Attributes:
        facts: What runs.
    """

    def __init__(
        self, request: OpenRequest, active: JointBundle, state: StateVector, mode: ShadowMode
    ) -> None:
        """Start the process; wait until its policy is open and proven.

        Args:
            request: What it opens.
            active: Of the policy that it is compared with.
            state: Of that policy, with its fields; not read yet.
            mode: What it remembers of the ticks before.

        Raises:
            PolicyError: It cannot be opened, or not be compared with the active policy.
            OSError: No process can be started.
        """
        sizes = {name: state[name].size for name in state.slices}
        joints = len(active.contract.joints.names)
        self._slots = Slots(state.flat.size, joints)
        order = {
            "request": dataclasses.asdict(request),
            "folder": str(Path.cwd()),
            "active": str(active.path.resolve()),
            "active_sha256": active.sha256,
            "state_sizes": sizes,
            "joints": joints,
            "mode": mode.value,
            "fds": self._slots.fds,
        }
        try:
            self._process = ChildProcess(
                sys.executable, __name__, [json.dumps(order)], self._slots.fds
            )
        except BaseException:
            self._slots.close()
            raise
        try:
            self._await_opening(request.bundle)
            about = json.loads((self._process.folder / _ABOUT).read_text("utf-8"))
        except BaseException:
            self.close()
            raise
        self.facts = ShadowFacts(**about, mode=mode.value)
        self._given = self._taken = self._first = self._answered = 0
        self._numbers = [0] * SLOTS
        self._lost, self._lost_before, self._begins = list[ShadowAnswer](), 0, False
        self._answered_s = 0.0
        self._over = ""

    def _await_opening(self, bundle: str) -> None:
        ends_s = time.monotonic() + OPEN_TIMEOUT_S
        while not self._slots.answered(_LOOK_S):
            if self._process.status() is not None:
                raise RefusedError(self._ended(f"{bundle}: expected a shadow policy to open"))
            if time.monotonic() > ends_s:
                raise RefusedError(
                    f"{bundle}: expected a shadow policy to open within {OPEN_TIMEOUT_S:g} s, "
                    "found no answer"
                )
        if text := self._slots.text:
            raise RefusedError(f"shadow: {text}")

    def start(self) -> None:
        """Begin with the next tick; answers to earlier ones are dropped. No tick may be at work."""
        self._first, self._begins = self._given, False
        self._lost.clear()
        self._lost_before, self._slots.text = 0, ""
        self._answered_s = time.monotonic()

    def give(self, tick: int, state: F64, command: F64, *, begins: bool) -> None:
        """Ask about a tick in which the active policy commanded the robot; never waits.

        Nothing is asked of a process that is known to have ended.

        Args:
            tick: Its number.
            state: As for `ShadowPolicy.answer`, like `command`; both are copied.
            command: See there.
            begins: Whether a run begins with this tick.
        """
        if self._over:
            return
        if begins:
            self._begins, self._lost_before = True, 0
        if self._given - self._taken == SLOTS:
            self._lost_before += 1
            self._lost.append(ShadowAnswer(tick, ShadowOutcome.LOST))
            return
        slot = self._given % SLOTS
        slots = self._slots
        slots.ticks[slot] = tick, self._lost_before, self._begins
        self._numbers[slot] = tick
        slots.states[slot] = state
        slots.commands[slot] = command
        self._given += 1
        self._lost_before, self._begins = 0, False
        slots.give()

    def take(self) -> tuple[ShadowAnswer, ...]:
        """Return the answers that have arrived, and the ticks that were lost; never waits.

        Raises:
            ValueError: They are none: what runs there writes where it should not.
        """
        self._answered += self._slots.answered()
        if self._taken == self._answered and not self._lost:
            return ()
        if self._answered > self._given:
            raise ValueError(f"{self._answered - self._given} answers without a question")
        found, self._lost = self._lost, []
        for _ in range(min(_MOST_ANSWERS, self._answered - self._taken)):
            if self._taken >= self._first:
                slot = self._taken % SLOTS
                answer = self._slots.read(slot)
                if answer.tick != self._numbers[slot] or answer.duration_ns < 0:
                    raise ValueError(
                        f"an answer to tick {answer.tick}, {self._numbers[slot]} asked"
                    )
                found.append(answer)
            self._taken += 1
            self._answered_s = time.monotonic()
        return tuple(found)

    @property
    def pending(self) -> int:
        """Ticks whose answers are owed."""
        return self._given - self._taken

    def problem(self) -> str:
        """Return why it does not run, or does not answer; empty while it does. Not for ticks."""
        if not self._over and self._process.status() is not None:
            self._over = self._ended("shadow")
        silent_s = time.monotonic() - self._answered_s
        if not self._over and self.pending and silent_s > _SILENT_S:
            return f"shadow: no answer for {silent_s:.0f} s; it hangs, or gets no processor time"
        failed = self._slots.text
        return self._over or (failed and f"shadow: {failed}")

    def _ended(self, what: str) -> str:
        said = self._process.said(_LAST_WORDS_S)[-300:]
        text = f"{what}: its process ended with status {self._process.status()}"
        return f"{text}; it said: {said}" if said else text

    def close(self) -> None:
        """End the process, which has nothing to save."""
        self._process.kill()
        self._process.end()
        self._slots.close()


def main(lifeline: int, output: int, order: Mapping[str, Any]) -> None:
    """Open and prove the policy of an order, then answer ticks until the other end is closed."""
    end_with_parent(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when to leave
    _yield_to_the_node()
    about = Path.cwd() / _ABOUT
    sizes = order["state_sizes"]
    os.chdir(order["folder"])  # where relative paths begin
    slots = Slots(sum(sizes.values()), order["joints"], order["fds"])
    try:
        active = _contract(Path(order["active"]), order["active_sha256"])
        opened = _opened(_request(order["request"]), active, sizes)
    except PolicyError as error:
        slots.text = str(error)
        slots.answer()
        return
    policy = ShadowPolicy(
        opened.bundle, opened.backend, opened.limits, active, sizes, ShadowMode(order["mode"])
    )
    about.write_text(
        json.dumps(
            {
                "bundle": str(opened.bundle.path.resolve()),
                "bundle_name": opened.bundle.contract.name,
                "bundle_version": opened.bundle.contract.version,
                "bundle_sha256": opened.bundle.sha256,
                "backend": opened.backend.name,
                "runs_on": opened.models.runs_on,
            }
        ),
        "utf-8",
    )
    talk_through(output)
    _run_when_idle([os.getpid(), *(model.pid for model in opened.models.values())])
    slots.answer()
    _serve(policy, slots)


def _serve(policy: ShadowPolicy, slots: Slots) -> None:
    """Answer ticks in their order for ever; the end of the node ends this process."""
    number = waiting = 0
    while True:
        waiting += slots.given(wait=not waiting)
        if not waiting:
            continue
        slot, began_ns = number % SLOTS, time.monotonic_ns()
        tick, lost, begins = slots.ticks[slot].tolist()
        answer = policy.answer(
            tick,
            slots.states[slot],
            slots.commands[slot],
            begins=bool(begins),
            lost=lost,
            late=waiting > LATE_TICKS,
        )
        if policy.problem != slots.text:
            slots.text = policy.problem
        slots.write(slot, answer._replace(duration_ns=time.monotonic_ns() - began_ns))
        slots.answer()
        number, waiting = number + 1, waiting - 1


def _contract(folder: Path, sha256: str) -> JointContract:
    """Return the contract of the active policy.

    Raises:
        BundleError: It is another one by now.
    """
    contract: JointContract = load_bundle(folder, kind=JointBundle, sha256=sha256).contract
    return contract


def _opened(
    request: OpenRequest, active: JointContract, sizes: Mapping[str, int]
) -> OpenedJointPolicy:
    """Open a policy as `~/load` does, and prove it.

    Raises:
        PolicyError: It cannot be the shadow of the active policy, or computes something else here
            than its golden rows say.
    """
    kind = JointKind()
    bundle = load_bundle(request.bundle, trusted_keys(request.public_key), kind=JointBundle)
    require_comparable(active, sizes, bundle)
    limits = limits_in_force(bundle.contract, request.stricter_limits)
    rows = kind.golden_rows(bundle)
    kind.require_enough(bundle, rows)
    # Those of a back end that is not asked for are the active policy's.
    options = {name: given for name, given in request.options.items() if name in request.backends}
    opened = kind.open(request, options, bundle, limits, time.monotonic_ns)
    require_parity(kind, bundle, opened.models, rows)
    return opened


def _request(given: Mapping[str, Any]) -> OpenRequest:
    return OpenRequest(**{**given, "stricter_limits": StricterLimits(**given["stricter_limits"])})


def _yield_to_the_node() -> None:
    """Take no priority, and go first where memory runs out; what is started from here likewise.

    The robot's user may take any priority, for the node's sake.
    """
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        resource.setrlimit(limit, (0, 0))
    Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _run_when_idle(processes: list[int]) -> None:
    """Let all threads of processes run only when nothing else wants the core."""
    for process in processes:
        for thread in threads_of(process):
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
