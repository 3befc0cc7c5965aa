# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A flight recording: a description of the policy, and ticks with their messages."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.topics import is_named
from policy_core.bundle.state_fields import STATE_TOPICS
from policy_core.control_state import ControlState
from policy_core.errors import plural
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, FAULT_MODES, Mode, OnFault, Tensor
from policy_inference.flight.recording import INFERENCE, SHADOW, STATE
from policy_inference.flight.ring import InferenceResult, ShadowAnswer, ShadowOutcome
from policy_inference.messages.readers import message_types

COMMAND_ROWS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
_APART_NS = 1_000_000_000
"""Maximum difference between the log times of a tick and its command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Description of the recorded policy, from policy_msgs/FlightInfo."""

    reason: str
    bundle: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    contract: str
    backend: str
    runs_on: str
    host: str
    settings: Mapping[str, str]
    inputs: tuple[str, ...]
    joints: tuple[str, ...]
    fields: Mapping[str, slice]
    """Slice of each field of the robot's state in `RecordedTick.state`."""

    @property
    def policy(self) -> str:
        return f"{self.bundle_name} {self.bundle_version}".strip()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedTick:
    """A tick of the policy; see policy_msgs/PolicyTick.

    Attributes:
        number, time_ns, stamp_ns, duration_s, mode, reason, begins, blend: See
            policy_msgs/PolicyTick.
        next_reason: Reason in the next tick; empty for the last one.
        ages_ns: Age of each input when sampled; None for one that never arrived.
        measured_ns: Measurement time of the newest message of each input that has arrived, on the
            clock of `time_ns`.
        repeats: By input, number of messages just before the newest that had the same image; empty
            if not recorded.
        state: Fields of the robot's state, by `Info.fields`.
        inputs, outputs: Tensors of the model; empty if it did not run, or failed.
        target: [joints]; None if the answer was dropped.
        requests: Requests granted since the previous tick, with their times.
        policy_ns: Time at which a chunk policy was asked for its target; 0 if it was not.
        results: Inference results of a chunk policy that arrived in the tick.
        messages: Messages sampled for this tick, by the name of the input.
        unreadable: Sampled messages that cannot be decoded, as bytes. They had no effect on the
            robot, and have none in a replay.
        alone: True if no other tick has the same time; otherwise, messages cannot be assigned to
            ticks.
        command: [6, joints], rows as in `JointTargets.block`; None without a command.
        command_mode: Mode of the command. It differs from the tick's mode only after an e-stop
            between the tick and its publication; then it is DAMP.
        goes_on_from: State of the controller before the tick, if recorded.
    """

    number: int
    time_ns: int
    stamp_ns: int
    duration_s: float
    mode: Mode
    reason: str
    ages_ns: Mapping[str, int | None]
    measured_ns: Mapping[str, int]
    repeats: Mapping[str, int]
    state: F64
    begins: bool
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    target: F64 | None
    blend: float
    requests: tuple[tuple[str, int], ...]
    policy_ns: int
    results: tuple[InferenceResult, ...]
    messages: Mapping[str, Any]
    unreadable: Mapping[str, bytes]
    alone: bool
    command: F64 | None
    command_mode: Mode | None
    next_reason: str = ""
    goes_on_from: ControlState | None = None

    @property
    def contradiction(self) -> tuple[str, str] | None:
        """What the mode expects from the policy, and what was found, if they differ; else None.

        An answer that was late or failed has no target, and the mode is HOLD or DAMP.
        """
        if self.mode is Mode.RUN and self.target is None:
            return "a target from the policy in RUN", "none"
        if self.target is not None and self.mode not in (Mode.RUN, Mode.DAMP):
            return f"no target from the policy in {self.mode.name}", "one"
        of_model = not self.policy_ns  # answers of a chunk policy arrive in ticks of their own
        if of_model and self.target is not None and not self.outputs:
            return "model outputs (there is a target)", "nothing"
        if self.outputs and not self.inputs:
            return "model inputs (there are outputs)", "nothing"
        if self.command_mode not in (None, self.mode, Mode.DAMP):
            return f"a command of {self.mode.name}", f"one of {self.command_mode.name}"
        return None

    @property
    def ran(self) -> bool:
        return bool(self.inputs)

    @property
    def rule(self) -> Rule | None:
        """The guard rule that the reason begins with; None if it names none."""
        return find_rule(self.reason)

    @property
    def dropped_by(self) -> str:
        """The guard rule that caused the model's answer to be dropped; may be empty."""
        if not self.outputs:
            return Rule.INFERENCE_ERROR.value
        if not all(
            np.isfinite(np.asarray(each, np.float64)).all() for each in self.outputs.values()
        ):
            return Rule.NOT_FINITE.value
        if self.mode is Mode.HOLD:
            return Rule.INFERENCE_LATE.value
        return self.reason.partition(":")[0] or "fault"


_RULES = {rule.value: rule for rule in Rule}


def find_rule(reason: str) -> Rule | None:
    return _RULES.get(reason.partition(":")[0])


class Moded(NamedTuple):
    """Number and time of a tick, its mode, and the reason if it changed."""

    number: int
    time_ns: int
    mode: Mode
    reason: str


class CommandLog:
    """Reads commands along with the ticks, keeping only those from about the same time."""

    def __init__(self, messages: Iterator[tuple[int, Any]]) -> None:
        """Read from `messages`, which yields log time (ns) and command, in time order."""
        self._messages = messages
        self._next = next(messages, None)
        self._by_stamp: dict[int, list[Any]] = {}
        self._kept = deque[tuple[int, int]]()

    def at(self, log_ns: int, stamp_ns: int) -> list[Any]:
        """Return the commands with this stamp; each is returned only once.

        Args:
            log_ns: Log time of the tick; must not decrease between calls.
            stamp_ns: Stamp of the tick.
        """
        while self._next is not None and self._next[0] <= log_ns + _APART_NS:
            its_ns, message = self._next
            stamp = time_ns(message.stamp)
            self._by_stamp.setdefault(stamp, []).append(message)
            self._kept.append((its_ns, stamp))
            self._next = next(self._messages, None)
        while self._kept and self._kept[0][0] < log_ns - _APART_NS:
            self._by_stamp.pop(self._kept.popleft()[1], None)
        return self._by_stamp.pop(stamp_ns, [])


def time_ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


TICK, INFO = "policy_msgs/msg/PolicyTick", "policy_msgs/msg/FlightInfo"
_JOINT_COMMAND, _FORCES = "policy_msgs/msg/JointCommand", "policy_msgs/msg/ContactForces"
FORCES = "contact_forces"
# Published instead of DAMP, see policy_msgs/JointCommand.
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
_INFO_TEXTS = {
    "reason",
    "bundle",
    "bundle_name",
    "bundle_version",
    "bundle_sha256",
    "contract",
    "backend",
    "runs_on",
    "host",
}
_INFO_FIELDS = {*_INFO_TEXTS, "settings", "inputs", "joints", "state_fields", "state_sizes"}
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
    """A flight recording, read tick by tick.

    Attributes:
        path: The recording's folder, or its file if there is only one.
        info: Description of the recorded policy.
        names: Input name for each topic with sensor messages.
    """

    def __init__(self, path: Path) -> None:
        """Find the topics and read the description of the policy, but no tick."""
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
                    f"{path}: {topic}: expected messages as this policy_inference version records "
                    f"them, found some without {', '.join(missing)}; replay this recording with "
                    "the policy_inference version that recorded it"
                )
        if not self._bag.topics[self._tick_topic].count:
            raise ToolError(f"{path}: expected ticks of a policy, found an empty recording")
        infos = [message for _, message in self._bag.messages(self._info_topic)]
        if len(infos) != 1:
            raise ToolError(
                f"{path}: expected one message on {self._info_topic} (it describes the policy), "
                f"found {len(infos)}"
            )
        self.info = self._info(infos[0])
        self.names = self._sensed_topics()
        self._states = self._named("control_state", (STATE,))
        if not self._states:
            raise ToolError(
                f"{path}: expected controller states ({STATE}; a replay starts from one), "
                "found none; replay this recording with the policy_inference version that "
                "recorded it"
            )

    @property
    def count(self) -> int:
        return self._bag.topics[self._tick_topic].count

    @property
    def start_ns(self) -> int:
        return int(self._bag.start_ns)

    @property
    def duration_s(self) -> float:
        return float(self._bag.duration_ns) * 1e-9

    def modes(self) -> Iterator[Moded]:
        for _, message in self._bag.messages(self._tick_topic):
            yield Moded(
                number=int(message.tick),
                time_ns=int(message.time_ns),
                mode=self._mode(message),
                reason=message.reason,
            )

    def states(self) -> Iterator[tuple[int, int]]:
        """Yield, for each recorded controller state, the tick that starts from it and its log time.

        The log time is the state's, in ns.
        """
        for topic in self._states:
            for log_ns, message in self._bag.messages(topic):
                yield int(message.tick), log_ns

    def state_before(self, from_s: float) -> int:
        """Return the number of the last tick with a state at most `from_s` after the first tick."""
        until_ns = self.start_ns + round(from_s * 1e9)
        found = [number for number, log_ns in self.states() if log_ns <= until_ns]
        if not found:
            raise ToolError(
                f"{self.path}: expected a controller state at most {from_s:g} s after the first "
                "tick, found none"
            )
        return found[-1]

    def results(self) -> Iterator[InferenceResult]:
        for topic in self._results:
            for _, message in self._bag.messages(topic):
                yield self._result(message, message)

    def shadow_answers(self) -> Iterator[ShadowAnswer]:
        """Yield the answers of a shadow policy, in order of arrival."""
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
        """Yield the ticks in order.

        Args:
            first: Number of the first tick.
        """
        for tick, after in pairwise(chain(self._ticks(first), [None])):
            assert tick is not None
            yield tick if after is None else replace(tick, next_reason=after.reason)

    def _ticks(self, first: int) -> Iterator[RecordedTick]:
        before = -1
        # Read separately: a command belongs to the tick with the same stamp, wherever it was
        # logged.
        commands = CommandLog(
            chain.from_iterable(
                map(self._bag.messages, self._named("joint_command", (_JOINT_COMMAND,)))
            )
        )
        for group in self._groups():
            stamps = [time_ns(message.stamp) for message in group.ticks]
            sent = dict[int, Iterator[Any]]()
            for stamp in dict.fromkeys(stamps):
                found = commands.at(group.log_ns, stamp)
                # If their number differs from that of the ticks, they cannot be assigned.
                unknown = len(found) != stamps.count(stamp)
                sent[stamp] = repeat(None) if unknown else iter(found)
            numbers = {message.tick for message in group.ticks}
            for result in group.results if numbers else ():
                if result.tick not in numbers:
                    raise self._problem(
                        group.ticks[0],
                        "an inference result for a tick at the same time",
                        f"one of tick {result.tick}; the recording was changed",
                    )
            for message, stamp in zip(group.ticks, stamps, strict=True):
                if message.tick <= before:
                    raise ToolError(
                        f"{self.path}: expected ticks in order, found {message.tick} after "
                        f"{before}; the recording's clock jumped back there"
                    )
                before, command = message.tick, next(sent[stamp])
                if message.tick >= first:
                    yield self._tick(message, group, command)

    def _groups(self) -> Iterator[_Group]:
        """Yield groups of messages with the same log time, which is also their tick's."""
        group = _Group()
        decoders = {topic: self._bag.decoder(topic, whole=True) for topic in self.names}
        for log_ns, topic, message in self._bag.all_messages(
            [self._tick_topic, *self._results, *self._states, *self.names], undecoded=self.names
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
                name = self.names[topic]
                try:
                    group.messages[name] = decoders[topic](message)
                except ValueError:
                    group.unreadable[name] = message
        yield group

    def _tick(self, message: Any, group: _Group, command: Any) -> RecordedTick:
        info = self.info
        if len(message.state) != sum(part.stop - part.start for part in info.fields.values()):
            raise self._problem(
                message,
                "a state with the fields that flight_info names",
                f"{len(message.state)} values",
            )
        for name, whole in (
            *((name, len(info.inputs)) for name in ("ages_s", "measured_times_ns", "repeats")),
            *([("target", len(info.joints))] if len(message.target) else []),
            ("request_times_ns", len(message.requests)),
        ):
            if (count := len(getattr(message, name))) != whole:
                raise self._problem(message, f"{plural(whole, 'value')} in {name}", str(count))
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
            unreadable=dict(group.unreadable),
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
        success = getattr(message, "success", math.nan)  # recordings of older versions lack it
        return InferenceResult(
            observation_ns=int(message.observation_ns),
            asked_ns=int(message.asked_ns),
            began_ns=int(message.began_ns),
            ended_ns=int(message.ended_ns),
            state=np.array(message.state, np.float64),
            chunk=chunk.reshape(int(message.steps), -1) if message.steps else None,
            error=message.error,
            member=message.member,
            success=None if math.isnan(success) else success,
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
        if message is None:
            return None
        names = list(message.names)
        if sorted(names) != sorted(self.info.joints):
            raise self._problem(
                tick, f"a command to {', '.join(self.info.joints)}", f"one to {', '.join(names)}"
            )
        order = [names.index(name) for name in self.info.joints]
        return np.stack(
            [np.asarray(getattr(message, row), np.float64)[order] for row in COMMAND_ROWS]
        )

    def _problem(self, tick: Any, expected: str, found: str) -> ToolError:
        return ToolError(f"{self.path}: tick {tick.tick}: expected {expected}, found {found}")

    def _only(self, kind: str) -> str:
        topics = [name for name, topic in self._bag.topics.items() if topic.type == kind]
        if not topics:
            raise ToolError(
                f"{self.path}: expected a flight recording with {kind}, found "
                f"{', '.join(sorted(self._bag.topics)) or 'no topic'}; a node writes one after a "
                "fault or when asked (~/record)"
            )
        if len(topics) > 1:
            raise ToolError(
                f"{self.path}: expected one topic with {kind} (from one policy), found "
                f"{', '.join(topics)}"
            )
        return topics[0]

    def _named(self, name: str, types: tuple[str, ...], longer: Collection[str] = ()) -> list[str]:
        """Return the topic with this name in any namespace, if any; `longer` names are excluded."""
        found = [
            topic
            for topic, entry in self._bag.topics.items()
            if entry.type in types
            and entry.count
            and is_named(topic, name)
            and not any(is_named(topic, each) for each in longer)
        ]
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
            **{name: getattr(message, name) for name in _INFO_TEXTS},
        )


@dataclass(slots=True)
class _Group:
    """Messages with the same log time."""

    log_ns: int = 0
    messages: dict[str, Any] = field(default_factory=dict)
    unreadable: dict[str, bytes] = field(default_factory=dict)
    ticks: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    states: dict[int, Any] = field(default_factory=dict)
