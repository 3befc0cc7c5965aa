# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of the flight recorder: what ran, and its ticks with the messages of each."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, BagTopic
from model_tools.files.bags.topics import is_named
from model_tools.prove.replaying.recorded_ticks import (
    CommandLog,
    Info,
    Moded,
    RecordedTick,
    time_ns,
)
from policy_core.bundle.state_fields import STATE_TOPICS
from policy_core.control_state import ControlState
from policy_core.interfaces import F64, FAULT_MODES, Mode, OnFault, Tensor
from policy_inference.flight.ring import InferenceResult, ShadowAnswer, ShadowOutcome
from policy_inference.flight.tick_messages import INFERENCE, SHADOW, STATE
from policy_inference.messages.readers import message_types

TICK, INFO = "policy_msgs/msg/PolicyTick", "policy_msgs/msg/FlightInfo"
_JOINT_COMMAND, _FORCES = "policy_msgs/msg/JointCommand", "policy_msgs/msg/ContactForces"
FORCES = "contact_forces"
_BLOCK = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
# What is published instead of DAMP: see policy_msgs/JointCommand.
_MODES = {FAULT_MODES[OnFault.HOLD_MEASURED]: Mode.DAMP, FAULT_MODES[OnFault.TORQUE_OFF]: Mode.DAMP}
_TICK_FIELDS = {
    "stamp",
    "tick",
    "time_ns",
    "duration_s",
    "mode",
    "reason",
    "ages_s",
    "measured_times_ns",
    "repeats",
    "state",
    "requests",
    "request_times_ns",
    "begins",
    "policy_time_ns",
    "inputs",
    "outputs",
    "target",
    "blend",
}
_INFO_FIELDS = {
    "reason",
    "bundle",
    "bundle_name",
    "bundle_version",
    "bundle_sha256",
    "contract",
    "backend",
    "runs_on",
    "host",
    "settings",
    "inputs",
    "joints",
    "state_fields",
    "state_sizes",
}
_RESULT_FIELDS = {
    "tick",
    "observation_ns",
    "asked_ns",
    "began_ns",
    "ended_ns",
    "state",
    "member",
    "error",
    "steps",
    "data",
}


class FlightRecording:
    """A recording, read tick by tick.

    Attributes:
        path: Its folder, or its only file.
        info: What its ticks are of.
        names: Name of the input by topic, for what was sensed.
    """

    def __init__(self, path: Path) -> None:
        """Find its topics and read what ran; no tick is read yet."""
        if not path.exists():
            raise ToolError(f"{path}: expected a flight recording, found nothing")
        self.path, self._bag = path, Bag(path)
        self._tick_topic = self._only(TICK)
        self._info_topic = self._only(INFO)
        self._results = self._named("chunk_inference", (INFERENCE,))
        for topic, wanted in (
            (self._tick_topic, _TICK_FIELDS),
            (self._info_topic, _INFO_FIELDS),
            *((topic, _RESULT_FIELDS) for topic in self._results),
        ):
            if missing := sorted(wanted - self._bag.fields(topic)):
                raise ToolError(
                    f"{path}: {topic}: expected messages as this version records them, "
                    f"found some without {', '.join(missing)}; replay it with the "
                    "version that recorded it"
                )
        if not self._bag.topics[self._tick_topic].count:
            raise ToolError(f"{path}: expected ticks of a policy, found an empty recording")
        infos = [message for _, message in self._bag.messages(self._info_topic)]
        if len(infos) != 1:
            raise ToolError(
                f"{path}: expected one message on {self._info_topic}, which says what ran, "
                f"found {len(infos)}"
            )
        self.info = self._info(infos[0])
        self.names = self._sensed_topics()
        self._states = self._named("control_state", (STATE,))
        if not self._states:
            raise ToolError(
                f"{path}: expected states of the controller ({STATE}), at which a replay begins, "
                "found none; replay it with the version that recorded it"
            )

    @property
    def count(self) -> int:
        """Number of ticks."""
        return self._bag.topics[self._tick_topic].count

    @property
    def start_ns(self) -> int:
        """First time in the log, ns."""
        return int(self._bag.start_ns)

    @property
    def duration_s(self) -> float:
        """Time from the first message to the last."""
        return float(self._bag.duration_ns) * 1e-9

    def modes(self) -> Iterator[Moded]:
        """Yield the mode of each tick, without all else."""
        for _, message in self._bag.messages(self._tick_topic):
            yield Moded(
                number=int(message.tick),
                time_ns=int(message.time_ns),
                mode=self._mode(message),
                reason=message.reason,
            )

    def states(self) -> Iterator[tuple[int, int]]:
        """Yield number and log time (ns) of each tick before which the state is recorded."""
        for topic in self._states:
            for log_ns, message in self._bag.messages(topic):
                yield int(message.tick), log_ns

    def state_before(self, from_s: float) -> int:
        """Return the number of the last tick up to a time (since the first) with a state."""
        until_ns = self.start_ns + round(from_s * 1e9)
        found = [number for number, log_ns in self.states() if log_ns <= until_ns]
        if not found:
            raise ToolError(f"{self.path}: expected a state within {from_s:g} s, found none")
        return found[-1]

    def results(self) -> Iterator[InferenceResult]:
        """Yield the results of the inferences of a chunk policy, in their order."""
        for topic in self._results:
            for _, message in self._bag.messages(topic):
                yield self._result(message, message)

    def shadow_answers(self) -> Iterator[ShadowAnswer]:
        """Yield what a shadow policy made of ticks, in the order in which it arrived."""
        inferences = dict[int, list[InferenceResult]]()
        for topic in self._named("shadow_inference", (INFERENCE,)):
            for _, message in self._bag.messages(topic):
                found = self._result(message, message)
                inferences.setdefault(int(message.tick), []).append(found)
        for topic in self._named("shadow_tick", (SHADOW,)):
            for _, message in self._bag.messages(topic):
                compared = message.outcome == ShadowOutcome.COMPARED
                yield ShadowAnswer(
                    tick=int(message.tick),
                    outcome=ShadowOutcome(message.outcome),
                    duration_ns=round(message.duration_s * 1e9),
                    rules=tuple(message.rules),
                    beyond_limits=bool(message.beyond_limits),
                    target=np.array(message.target, np.float64) if compared else None,
                    active_target=np.array(message.active_target, np.float64) if compared else None,
                    inferences=tuple(inferences.get(int(message.tick), ())),
                )

    def ticks(self, first: int = 0) -> Iterator[RecordedTick]:
        """Yield the ticks in their order.

        Args:
            first: Number of the first one.
        """
        for tick, after in pairwise(chain(self._ticks(first), [None])):
            assert tick is not None
            yield tick if after is None else replace(tick, next_reason=after.reason)

    def _ticks(self, first: int) -> Iterator[RecordedTick]:
        before = -1
        # By themselves: a command belongs to the tick whose stamp it has, wherever it was logged.
        commands = CommandLog(
            chain.from_iterable(
                map(self._bag.messages, self._named("joint_command", (_JOINT_COMMAND,)))
            )
        )
        for group in self._groups():
            stamps = [time_ns(message.stamp) for message in group.ticks]
            sent = {
                stamp: iter(self._whose(commands.at(group.log_ns, stamp), stamps.count(stamp)))
                for stamp in dict.fromkeys(stamps)
            }
            self._require_results_of(group)
            for message, stamp in zip(group.ticks, stamps, strict=True):
                if message.tick <= before:
                    raise ToolError(
                        f"{self.path}: expected ticks in their order, found {message.tick} after "
                        f"{before}; the clock of the recording went back there"
                    )
                before, command = message.tick, next(sent[stamp])
                if message.tick >= first:
                    yield self._tick(message, group, command)

    def _require_results_of(self, group: _Group) -> None:
        numbers = {message.tick for message in group.ticks}
        for result in group.results:
            if numbers and result.tick not in numbers:
                raise self._problem(
                    group.ticks[0],
                    "the result of an inference in the tick of its time",
                    f"one of tick {result.tick}; the recording was changed",
                )

    @staticmethod
    def _whose(commands: list[Any], ticks: int) -> list[Any]:
        """Return a command for each of the ticks with its stamp; None where none says whose."""
        return commands if len(commands) == ticks else [None] * ticks

    def _groups(self) -> Iterator[_Group]:
        """Yield messages of the same time in the log, which is that of the tick."""
        group = _Group()
        for log_ns, topic, message in self._bag.all_messages(
            [self._tick_topic, *self._results, *self._states, *self.names]
        ):
            if log_ns != group.log_ns:
                yield group
                group = _Group(log_ns)
            if topic == self._tick_topic:
                group.ticks.append(message)
            elif topic in self._results:
                group.results.append(message)
            elif topic in self._states:
                group.states[int(message.tick)] = message
            else:
                group.messages[self.names[topic]] = message
        yield group

    def _tick(self, message: Any, group: _Group, command: Any) -> RecordedTick:
        info = self.info
        if len(message.state) != sum(part.stop - part.start for part in info.fields.values()):
            raise self._problem(
                message,
                "a state of the fields that flight_info names",
                f"{len(message.state)} values",
            )
        for name, whole in (
            *((name, len(info.inputs)) for name in ("ages_s", "measured_times_ns", "repeats")),
            *([("target", len(info.joints))] if len(message.target) else []),
        ):
            if (count := len(getattr(message, name))) != whole:
                raise self._problem(message, f"{whole} values of {name}", str(count))
        ages = [round(age_s * 1e9) if math.isfinite(age_s) else None for age_s in message.ages_s]
        tick = RecordedTick(
            number=int(message.tick),
            time_ns=int(message.time_ns),
            stamp_ns=time_ns(message.stamp),
            duration_s=float(message.duration_s),
            mode=self._mode(message),
            reason=message.reason,
            begins=bool(message.begins),
            blend=float(message.blend),
            ages_ns=dict(zip(info.inputs, ages, strict=True)),
            measured_ns={
                name: at
                for name, age_ns, at in zip(
                    info.inputs, ages, map(int, message.measured_times_ns), strict=True
                )
                if age_ns is not None
            },
            repeats=dict(zip(info.inputs, map(int, message.repeats), strict=True)),
            state=np.array(message.state, np.float64),
            inputs=self._tensors(message, message.inputs),
            outputs=self._tensors(message, message.outputs),
            target=np.array(message.target, np.float64) if len(message.target) else None,
            requests=tuple(zip(message.requests, map(int, message.request_times_ns), strict=True)),
            policy_ns=int(message.policy_time_ns),
            results=tuple(
                self._result(message, each) for each in group.results if each.tick == message.tick
            ),
            messages=dict(group.messages),
            alone=len(group.ticks) == 1,
            command=self._command(message, command),
            command_mode=None if command is None else self._mode(command),
            goes_on_from=self._state(message, group.states.get(int(message.tick))),
        )
        if problem := tick.contradiction:
            raise self._problem(message, *problem)
        return tick

    def _state(self, tick: Any, message: Any) -> ControlState | None:
        if message is None:
            return None
        arrays = [*self._tensors(tick, message.arrays).values()]
        try:
            return ControlState.decoded(message.values, arrays)
        except ValueError as error:
            raise self._problem(tick, "a state of the controller", str(error)) from error

    def _result(self, tick: Any, message: Any) -> InferenceResult:
        if message.steps and len(message.data) % message.steps:
            raise self._problem(
                tick, f"a chunk of {message.steps} steps", f"{len(message.data)} values"
            )
        chunk = np.array(message.data, np.float64)
        return InferenceResult(
            observation_ns=int(message.observation_ns),
            asked_ns=int(message.asked_ns),
            began_ns=int(message.began_ns),
            ended_ns=int(message.ended_ns),
            state=np.array(message.state, np.float64),
            chunk=chunk.reshape(int(message.steps), -1) if message.steps else None,
            error=message.error,
            member=message.member,
        )

    def _mode(self, message: Any) -> Mode:
        try:
            return _MODES[message.mode] if message.mode in _MODES else Mode(message.mode)
        except ValueError as error:
            raise ToolError(
                f"{self.path}: expected one of the modes 0 to 6, found {message.mode}"
            ) from error

    def _tensors(self, tick: Any, entries: Any) -> dict[str, Tensor]:
        found = {}
        for entry in entries:
            try:
                array = np.frombuffer(bytes(entry.data), np.dtype(entry.dtype).newbyteorder("<"))
                found[entry.name] = array.reshape(entry.shape)
            except (TypeError, ValueError) as error:
                raise self._problem(
                    tick,
                    f"a tensor {entry.name} of {entry.dtype}{[int(size) for size in entry.shape]}",
                    str(error),
                ) from error
        return found

    def _command(self, tick: Any, message: Any) -> F64 | None:
        """Return the command [6, joints] in the order of the policy's joints."""
        if message is None:
            return None
        names = list(message.names)
        if sorted(names) != sorted(self.info.joints):
            raise self._problem(
                tick, f"a command to {', '.join(self.info.joints)}", f"one to {', '.join(names)}"
            )
        order = [names.index(name) for name in self.info.joints]
        return np.stack([np.asarray(getattr(message, row), np.float64)[order] for row in _BLOCK])

    def _problem(self, tick: Any, expected: str, found: str) -> ToolError:
        return ToolError(f"{self.path}: tick {tick.tick}: expected {expected}, found {found}")

    def _only(self, kind: str) -> str:
        """Return the topic of a type."""
        topics = [name for name, topic in self._bag.topics.items() if topic.type == kind]
        if len(topics) == 1:
            return topics[0]
        if topics:
            raise ToolError(
                f"{self.path}: expected one topic of {kind}, as of one policy, found "
                f"{', '.join(topics)}"
            )
        raise ToolError(
            f"{self.path}: expected a recording of the flight recorder, with {kind}, "
            f"found {', '.join(sorted(self._bag.topics)) or 'no topic'}; a node writes "
            "one after a fault or when asked (~/record)"
        )

    def _named(self, name: str, types: tuple[str, ...], longer: Collection[str] = ()) -> list[str]:
        """Return the topic of a name, in any namespace; of a `longer` name it is none of this."""

        def fits(topic: str, entry: BagTopic) -> bool:
            other = any(is_named(topic, each) for each in longer)
            return is_named(topic, name) and not other and entry.type in types and entry.count > 0

        found = [topic for topic, entry in self._bag.topics.items() if fits(topic, entry)]
        if len(found) > 1:
            raise ToolError(f"{self.path}: expected one topic {name}, found {', '.join(found)}")
        return found

    def _sensed_topics(self) -> dict[str, str]:
        types = {name: message_types(name) for name in (*STATE_TOPICS, *self.info.inputs)}
        types[FORCES] = (_FORCES,)
        longer = {name: [each for each in types if each.endswith(f"/{name}")] for name in types}
        return {
            topic: name
            for name, kinds in types.items()
            for topic in self._named(name, kinds, longer[name])
        }

    def _info(self, message: Any) -> Info:
        ends = np.cumsum(message.state_sizes).astype(int).tolist()
        if len(ends) != len(message.state_fields):
            raise ToolError(
                f"{self.path}: {self._info_topic}: expected a size for each of "
                f"{len(message.state_fields)} fields, found {len(ends)}"
            )
        starts = [0, *ends[:-1]] if ends else []
        return Info(
            settings={entry.key: entry.value for entry in message.settings},
            inputs=tuple(message.inputs),
            joints=tuple(message.joints),
            fields={
                name: slice(start, end)
                for name, start, end in zip(message.state_fields, starts, ends, strict=True)
            },
            **{
                name: getattr(message, name)
                for name in (
                    "reason",
                    "bundle",
                    "bundle_name",
                    "bundle_version",
                    "bundle_sha256",
                    "contract",
                    "backend",
                    "runs_on",
                    "host",
                )
            },
        )


@dataclass(slots=True)
class _Group:
    """Messages of one time in the log."""

    log_ns: int = 0
    messages: dict[str, Any] = field(default_factory=dict)
    ticks: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    states: dict[int, Any] = field(default_factory=dict)
