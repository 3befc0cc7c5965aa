# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Replay a policy on recorded or live sensor messages, tick by tick."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from model_tools.errors import ToolError
from model_tools.files.rows import Row
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import COMMAND, read_velocity
from policy_core.bundle.terms import OWN_FIELDS, TERMS, is_perceived
from policy_core.errors import RobotError
from policy_core.guard.command import CommandFader
from policy_core.guard.limits import StricterLimits, limits_in_force, timeouts_in_force_ns
from policy_core.interfaces import Times
from policy_core.members.joint import JointPolicy
from policy_core.observation.pairing import Arrival
from policy_core.observation.state import RobotState
from policy_core.observation.ticks import Ticks
from policy_inference.backends.registry import open_backend
from policy_inference.messages.readers import message_types, state_reader
from policy_inference.messages.wire import Decode

IN_RUN = "RUN"
"""Name under which ticks in RUN are required, like an input with a message at each of them."""
_SENSED = ("joint_pos", "joint_vel", "velocity_command")
"""Fields used to judge coverage and nominal figures, even if the policy does not observe them."""


class HeardMessages(Protocol):
    """Interface of a source of recorded or live robot messages.

    Attributes:
        topics: Topic of each input.
    """

    topics: Mapping[str, str]

    def arrivals(self) -> Iterator[Arrival]:
        """Yield messages in time order: at least the newest message of each input for each tick."""

    def decoder(self, topic: str) -> Decode:
        """Return the function that decodes a topic's messages."""

    def problem(self, what: str, time_ns: int, text: object) -> ToolError:
        """Return an error about a message, with the message's time."""


def input_types(contract: JointContract) -> dict[str, tuple[str, ...]]:
    """Return the allowed message types for each of a policy's inputs."""
    return {name: message_types(name) for name in RobotState(contract).inputs}


def tick_timeouts_ns(contract: JointContract) -> dict[str, int | None]:
    """Return the time-outs of a tick's required inputs; the velocity command fades out instead."""
    limits = limits_in_force(contract, StricterLimits())
    names = [name for name in RobotState(contract).inputs if name != COMMAND]
    return timeouts_in_force_ns(contract, limits, names)


def remembers(contract: JointContract) -> bool:
    """Return whether the policy's inputs at a tick depend on earlier ticks."""
    observations = contract.observations.values()
    terms = [(term, observation) for observation in observations for term in observation.terms]
    return bool(contract.state) or any(
        TERMS[term.term].field in OWN_FIELDS
        or (term.history_length or observation.history.length) > 1
        for term, observation in terms
    )


class PerceivedFilter:
    """Skips perception messages without values, as the policy node does.

    Attributes:
        skipped: Number of messages skipped so far because they state a problem instead of values.
    """

    def __init__(self, make: Callable[[], Decode]) -> None:
        """Prepare the filter, which calls `make` on its first message."""
        self._make, self.skipped = make, 0
        self._decode: Decode | None = None

    def __call__(self, data: bytes) -> bool:
        self._decode = self._decode or self._make()
        try:
            is_without = bool(self._decode(data).problem)
        except (RobotError, struct.error, ValueError):
            return True  # its reader reports what is wrong
        self.skipped += is_without
        return not is_without


def perceived_filters(heard: HeardMessages) -> dict[str, PerceivedFilter]:
    """Return filters for the perception inputs."""
    return {
        name: PerceivedFilter(partial(heard.decoder, topic))
        for name, topic in heard.topics.items()
        if is_perceived(name)
    }


def skipped_messages(heard: HeardMessages, filters: Mapping[str, PerceivedFilter]) -> str:
    """Describe how many messages had no values, by topic; empty if all messages had values."""
    return ", ".join(
        f"{each.skipped} messages on {heard.topics[name]} have no values"
        for name, each in filters.items()
        if each.skipped
    )


class Replay:
    """Runs a bundle's reference model on received messages, like the robot's own loop.

    The newest message for each input is used, by header stamp (by log time if it has no stamp);
    messages without values count as not received (`PerceivedFilter`). `last_action`, history and
    recurrent state come from the policy itself. Ticks at which an input is older than its time-out
    are skipped, and the policy is reset after them; so are ticks in other modes than RUN, if the
    modes are known.

    Attributes:
        ticks: Tick counts so far.
    """

    def __init__(
        self, bundle: JointBundle, heard: HeardMessages, run_ticks_ns: Times | None = None
    ) -> None:
        """Prepare everything that does not need the model.

        Args:
            bundle: Bundle whose `onnx` artifact is replayed.
            heard: Source of the messages.
            run_ticks_ns: Times of the ticks in RUN [ticks], increasing; None if unknown.
        """
        contract = bundle.contract
        self._bundle, self._heard, self._run_ticks_ns = bundle, heard, run_ticks_ns
        self._state = RobotState(contract)
        self._readers = {
            name: state_reader(name, contract.joints.on_robot(), self._state)
            for name in self._state.inputs
            if name != COMMAND
        }
        self._decoders: dict[str, Decode] = {}
        self._command = CommandFader(
            self._state.get("velocity_command"),
            contract.velocity_command,
            limits_in_force(contract, StricterLimits()),
        )
        self._sensed = {name: self._state[name] for name in _SENSED if name in self._state.slices}
        self._remembers = remembers(contract)
        timeouts_ns = tick_timeouts_ns(contract)
        if run_ticks_ns is not None:
            timeouts_ns[IN_RUN] = 0
        self.ticks = Ticks(contract.period_ns, timeouts_ns)

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield the rows, once only, as views; row numbers count the ticks that are not skipped.

        Args:
            wanted: Sorted numbers of rows to yield; None for all. A policy without memory runs only
                at the ticks of these rows.
        """
        if wanted is not None and not len(wanted):
            return
        chosen = None if wanted is None else frozenset(wanted)
        backend, _ = open_backend(self._bundle, ["onnx"])
        try:
            policy = JointPolicy(self._bundle, backend, self._state)
            tensors = {
                name: array[0]
                for name, array in (*backend.inputs.items(), *backend.outputs.items())
            }
            first_ns = 0
            for number, now_ns in enumerate(self.ticks.times_ns(self._arrivals())):
                first_ns = first_ns if number else now_ns
                is_wanted = chosen is None or number in chosen
                if not (is_wanted or self._remembers):
                    continue
                self._tick(policy, now_ns)
                if is_wanted:
                    yield Row(
                        number=number,
                        time_s=(now_ns - first_ns) * 1e-9,
                        begins=self.ticks.begins,
                        tensors=tensors,
                        sensed=self._sensed,
                    )
                if wanted is not None and number == wanted[-1]:
                    return
                policy.commit()
        finally:
            backend.close()

    def _arrivals(self) -> Iterator[Arrival]:
        if self._run_ticks_ns is None:
            return self._heard.arrivals()
        run = (Arrival(time_ns, IN_RUN, b"") for time_ns in self._run_ticks_ns.tolist())
        return heapq.merge(self._heard.arrivals(), run)

    def _tick(self, policy: JointPolicy, now_ns: int) -> None:
        if self.ticks.begins:
            policy.reset()
        self.ticks.newest.pop(IN_RUN, None)
        for arrival in self.ticks.newest.values():
            self._take(arrival)
        self.ticks.newest.clear()
        self._command.update(now_ns)
        self._state.derive()
        if not self._state.is_finite() and (names := self._state.not_finite()):
            raise self._heard.problem(
                "the sensors",
                now_ns,
                f"expected finite values, found NaN or infinity in {', '.join(names)}",
            )
        if not policy.infer():
            raise self._heard.problem(
                "the model",
                now_ns,
                "expected finite outputs, found NaN or infinity; most likely the recording is "
                "from a different policy, or the observation differs from training",
            )

    def _take(self, arrival: Arrival) -> None:
        time_ns, name, data = arrival
        try:
            message = self._decoder(name)(data)
            if name != COMMAND:
                self._readers[name].read(message)
                return
        except (RobotError, struct.error, ValueError) as error:
            text = (
                error
                if isinstance(error, RobotError)
                else f"expected a complete message, found a broken one ({error})"
            )
            raise self._heard.problem(self._heard.topics[name], time_ns, text) from error
        # Non-finite commands are ignored, as on the robot.
        self._command.set(read_velocity(message), time_ns)

    def _decoder(self, name: str) -> Decode:
        """Return the decoder of an input, whose type may be unknown before its first message."""
        if name not in self._decoders:
            self._decoders[name] = self._heard.decoder(self._heard.topics[name])
        return self._decoders[name]
