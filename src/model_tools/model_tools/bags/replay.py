# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy on recorded sensors: what it would have seen and said at each tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model_tools.bags.bag import Bag
from model_tools.bags.streams import in_time
from model_tools.bags.topics import find_topics
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.core.command import CommandFader
from policy_inference.core.freshness import Input
from policy_inference.core.limits import Tightening, input_timeouts_ns, limits_in_force
from policy_inference.core.messages import (
    COMMAND,
    TWIST,
    TWIST_STAMPED,
    state_reader,
    velocity_of,
)
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import RobotState
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64, Backend, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tick:
    """One tick: copies of what was measured, and of the model's tensors without batch axis.

    Attributes:
        time_ns: On the clock of the stamps, a multiple of the period.
        joint_pos, joint_vel: [joints] in contract order, rad and rad/s.
        tensors: Inputs and outputs of the model by name.
        begins: Whether the policy started clean with it.
    """

    time_ns: int
    joint_pos: F64
    joint_vel: F64
    tensors: Mapping[str, Tensor]
    begins: bool


class Replay:
    """Feeds a bundle's reference model with a recording, as the robot's own loop would.

    The newest message of each input counts, by header stamp, or by time in the log where it has
    none. `last_action`, history and recurrent state are those of the policy itself. Ticks at
    which an input is older than its time-out are left out, and the policy starts clean after them.

    Attributes:
        topics: Where each input comes from.
        dropped: Number of ticks left out so far.
        stale: How many of them each input was too old for.
    """

    def __init__(self, bundle: Bundle, bag: Bag, given: Mapping[str, str]) -> None:
        """Find the inputs in the recording; `given` are topics by input that the user named.

        Raises:
            ToolError: The recording lacks an input.
        """
        contract = bundle.contract
        limits, timeouts_ns = limits_in_force(contract, Tightening()), input_timeouts_ns(contract)
        self._bundle, self._bag = bundle, bag
        self._state = RobotState(contract)
        self._readers = {name: state_reader(name, contract.joints.names, self._state)
                         for name in self._state.inputs if name != COMMAND}  # fmt: skip
        self._inputs = {name: Input(name, timeouts_ns.get(name, limits.state_timeout_ns))
                        for name in self._readers}  # fmt: skip
        self._command = CommandFader(self._state.get("velocity_command"),
                                     contract.velocity_command, limits)
        types = {name: [TWIST, TWIST_STAMPED] if name == COMMAND else [self._readers[name].message]
                 for name in self._state.inputs}  # fmt: skip
        self.topics = find_topics(bag, types, given)
        self.dropped, self.stale = 0, Counter[str]()
        self._next_ns: int | None = None
        self._clean = False

    def ticks(self) -> Iterator[Tick]:
        """Yield ticks from the first at which each input is there to the last message; once.

        Raises:
            PolicyError: The recording is broken, a message does not fit, a value is not finite,
                or the model does not run.
        """
        backend, _ = open_backend(self._bundle, ["onnx"])
        try:
            policy = JointPolicy(self._bundle, backend, self._state)
            for now_ns in self._times():
                begins = not self._clean
                if begins:
                    policy.reset()
                    self._clean = True
                yield self._step(policy, backend, now_ns, begins)
                policy.commit()
        finally:
            backend.close()

    def _times(self) -> Iterator[int]:
        """Yield the times of the ticks, each when the newest messages of its time are taken."""
        period_ns = self._bundle.contract.period_ns
        time_ns = 0
        for time_ns, name, message in in_time(self._bag, self.topics):
            yield from self._times_before(time_ns)
            self._take(name, message, time_ns)
            if self._next_ns is None and not self._waiting(time_ns):
                self._next_ns = -(-time_ns // period_ns) * period_ns
        yield from self._times_before(time_ns + 1)

    def _times_before(self, end_ns: int) -> Iterator[int]:
        period_ns = self._bundle.contract.period_ns
        while self._next_ns is not None and self._next_ns < end_ns:
            count = 1
            if stale := [name for name, e in self._inputs.items() if e.is_stale(self._next_ns)]:
                # Nothing but a message ends the gap, however long it is.
                count = -((self._next_ns - end_ns) // period_ns)
                self.dropped += count
                self.stale.update(dict.fromkeys(stale, count))
                self._clean = False
            else:
                yield self._next_ns
            self._next_ns += count * period_ns

    def _waiting(self, now_ns: int) -> bool:
        return any(entry.age_ns(now_ns) is None for entry in self._inputs.values())

    def _take(self, name: str, message: Any, time_ns: int) -> None:
        if name == COMMAND:
            # One that is not finite is not taken, as on the robot.
            self._command.set(velocity_of(message), time_ns)
            return
        try:
            self._readers[name].read(message)
        except RobotError as error:
            raise self._bag.problem(self.topics[name], time_ns, error) from error
        self._inputs[name].accept(time_ns)

    def _step(self, policy: JointPolicy, backend: Backend, now_ns: int, begins: bool) -> Tick:
        state = self._state
        self._command.update(now_ns)
        state.derive()
        if names := state.not_finite():
            raise self._bag.problem("the sensors", now_ns, "expected finite values, found others "
                                    f"in {', '.join(names)}")
        if not policy.infer():
            raise self._bag.problem("the model", now_ns, "expected finite outputs, found others; "
                                    "most likely the recording is not of this policy, or the "
                                    "observation is not as it was trained")
        tensors = {**backend.inputs, **backend.outputs}
        return Tick(time_ns=now_ns, begins=begins, joint_pos=state["joint_pos"].copy(),
                    joint_vel=state["joint_vel"].copy(),
                    tensors={name: array[0].copy() for name, array in tensors.items()})
