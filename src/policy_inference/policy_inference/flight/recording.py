# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording on disk: serialized messages in a rosbag2 folder, which appears when complete."""

from __future__ import annotations

import errno
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policy_core.control_state import ControlState
from policy_core.interfaces import FAULT_MODES, Mode, OnFault, Tensor
from policy_inference.bag_file import BagFile, sync
from policy_inference.flight.description import Flight
from policy_inference.flight.ring import FlightTick, InferenceResult, ShadowAnswer

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

COMMAND = "policy_msgs/msg/JointCommand"
INFO = "policy_msgs/msg/FlightInfo"
TICK = "policy_msgs/msg/PolicyTick"
INFERENCE = "policy_msgs/msg/ChunkInference"
STATE = "policy_msgs/msg/ControlState"
SHADOW = "policy_msgs/msg/ShadowTick"
_TENSOR = "policy_msgs/msg/Tensor"
_NS_PER_S = 1_000_000_000


class Entry(NamedTuple):
    """A message in a recording: the topic's relative name, and the message's type and bytes."""

    topic: str
    type: str
    data: bytes | memoryview


class TickMessages:
    """Creates the messages for the ticks of one recording, in order."""

    def __init__(self, types: Typestore, flight: Flight) -> None:
        """Begin a recording; a tick's `reason` is empty if neither reason nor mode has changed."""
        self._types, self._flight = types, flight
        contract = flight.bundle.contract
        self._joints = list(contract.joints.on_robot())
        self._fault_mode = FAULT_MODES[OnFault(contract.safety.on_fault)]
        self._valid_for = self._make(
            "builtin_interfaces/msg/Duration", **_time(round(flight.valid_for_s * _NS_PER_S))
        )
        self._said: tuple[Mode, str] | None = None

    def info(self, reason: str) -> Entry:
        flight, contract = self._flight, self._flight.bundle.contract
        settings = [
            self._make("diagnostic_msgs/msg/KeyValue", key=key, value=value)
            for key, value in flight.settings.items()
        ]
        return self._entry(
            "flight_info",
            INFO,
            reason=reason,
            bundle=str(flight.bundle.path.resolve()),
            bundle_name=contract.name,
            bundle_version=contract.version,
            bundle_sha256=flight.bundle.sha256,
            contract=flight.contract_text,
            backend=flight.backend,
            runs_on=flight.runs_on,
            host=platform.node(),
            settings=settings,
            inputs=list(flight.inputs),
            joints=self._joints,
            state_fields=[*flight.state_sizes],
            state_sizes=np.array([*flight.state_sizes.values()], np.uint32),
        )

    def of(self, tick: FlightTick) -> Iterator[Entry]:
        """Yield a tick's messages: stored state, inputs, inferences, tick, command."""
        if tick.goes_on_from is not None:
            yield self._control_state(tick, tick.goes_on_from)
        for topic, data in zip(self._flight.topics, tick.moment.wire, strict=True):
            if data is not None:
                yield Entry(topic.name, topic.type, data)
        for result in tick.moment.results:
            yield self._inference("chunk_inference", tick, tick.moment.tick, result)
        for answer in tick.moment.shadow:
            for result in answer.inferences:
                yield self._inference("shadow_inference", tick, answer.tick, result)
            yield self._shadow(tick, answer)
        yield self._tick(tick)
        if tick.command is not None:
            yield self._command(tick)

    def _tick(self, tick: FlightTick) -> Entry:
        moment, said = tick.moment, self._said
        self._said = moment.mode, moment.reason
        ages_s = [math.inf if age is None else age / _NS_PER_S for age in moment.ages_ns]
        return self._entry(
            "policy_tick",
            TICK,
            stamp=self._stamp(moment.stamp_ns),
            tick=moment.tick,
            time_ns=moment.now_ns,
            duration_s=moment.duration_ns / _NS_PER_S,
            mode=self._mode(moment.mode),
            reason="" if said == self._said else moment.reason,
            ages_s=np.array(ages_s),
            measured_times_ns=np.array([each or 0 for each in moment.measured_ns], np.int64),
            repeats=np.array(moment.repeats, np.uint32),
            state=tick.state,
            requests=[name for name, _ in moment.granted],
            request_times_ns=np.array([time_ns for _, time_ns in moment.granted], np.int64),
            begins=moment.begins,
            policy_time_ns=moment.policy_ns,
            inputs=self._tensors(tick.inputs),
            outputs=self._tensors(tick.outputs),
            target=np.empty(0) if tick.target is None else tick.target,
            blend=moment.blend,
            authority=np.array(moment.authority),
        )

    def _inference(
        self, topic: str, tick: FlightTick, number: int, result: InferenceResult
    ) -> Entry:
        chunk = np.empty((0, 0)) if result.chunk is None else result.chunk
        return self._entry(
            topic,
            INFERENCE,
            stamp=self._stamp(tick.moment.stamp_ns),
            tick=number,
            observation_ns=result.observation_ns,
            asked_ns=result.asked_ns,
            began_ns=result.began_ns,
            ended_ns=result.ended_ns,
            state=result.state,
            error=result.error,
            member=result.member,
            steps=len(chunk),
            data=chunk.reshape(-1),
            success=math.nan if result.success is None else result.success,
        )

    def _shadow(self, tick: FlightTick, answer: ShadowAnswer) -> Entry:
        empty = np.empty(0)
        return self._entry(
            "shadow_tick",
            SHADOW,
            stamp=self._stamp(tick.moment.stamp_ns),
            tick=answer.tick,
            outcome=int(answer.outcome),
            duration_s=answer.duration_ns / _NS_PER_S,
            rules=[*answer.rules],
            beyond_limits=answer.beyond_limits,
            target=empty if answer.target is None else answer.target,
            active_target=empty if answer.active_target is None else answer.active_target,
        )

    def _command(self, tick: FlightTick) -> Entry:
        moment = tick.moment
        names = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
        assert tick.command is not None
        rows = dict(zip(names, tick.command, strict=True))
        return self._entry(
            "joint_command",
            COMMAND,
            stamp=self._stamp(moment.stamp_ns),
            sequence=moment.sequence,
            valid_for=self._valid_for,
            mode=self._mode(moment.command_mode),
            names=self._joints,
            **rows,
        )

    def _mode(self, mode: Mode) -> int:
        return self._fault_mode if mode is Mode.DAMP else int(mode)

    def _control_state(self, tick: FlightTick, state: ControlState) -> Entry:
        values, arrays = state.encoded()
        return self._entry(
            "control_state",
            STATE,
            stamp=self._stamp(tick.moment.stamp_ns),
            tick=tick.moment.tick,
            values=values,
            arrays=self._tensors({str(place): array for place, array in enumerate(arrays)}),
        )

    def _tensors(self, tensors: Mapping[str, Tensor]) -> list[Any]:
        return [
            self._make(
                _TENSOR,
                name=name,
                dtype=array.dtype.name,
                shape=np.array(array.shape, np.int64),
                data=np.ascontiguousarray(array).reshape(-1).view(np.uint8),
            )
            for name, array in tensors.items()
        ]

    def _stamp(self, ns: int) -> Any:
        return self._make("builtin_interfaces/msg/Time", **_time(ns))

    def _make(self, name: str, /, **fields: Any) -> Any:
        return self._types.types[name](**fields)

    def _entry(self, topic: str, name: str, /, **fields: Any) -> Entry:
        return Entry(topic, name, self._types.serialize_cdr(self._make(name, **fields), name))


def _time(ns: int) -> dict[str, int]:
    sec, nanosec = divmod(ns, _NS_PER_S)
    return {"sec": sec, "nanosec": nanosec}


UNFINISHED = ".unfinished-"
"""Prefix of the folder in which a recording is written."""


def free_place(folder: Path, name: str) -> Path:
    """Return an unused path with this name, followed by a number if necessary."""
    places = (folder / (name if i == 1 else f"{name}-{i}") for i in count(1))
    return next(place for place in places if not os.path.lexists(place))


class Recording:
    """A recording written to a hidden folder next to its final path, and moved there at the end.

    As a context manager, it finishes the recording at the end, or discards it on an exception.
    """

    def __init__(self, place: Path, types: Typestore, flight: Flight, reason: str) -> None:
        """Begin a recording.

        Args:
            place: The final folder; its parent is created if missing.
            types: Result of `message_types`.
            flight: Description of the ticks.
            reason: Reason for the recording, in words.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        self.place = place
        """Final path."""
        self._namespace = flight.namespace.rstrip("/")
        self._messages, self._reason = TickMessages(types, flight), reason
        self._growing = Path(
            tempfile.mkdtemp(prefix=f"{UNFINISHED}{place.name}-", dir=place.parent)
        )
        self.ticks = 0
        """Number of ticks in the recording so far."""
        try:
            self._bag = BagFile(self._growing / place.name, types)
        except BaseException:
            shutil.rmtree(self._growing, ignore_errors=True)
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()

    def add(self, ticks: Iterable[FlightTick]) -> None:
        for tick in ticks:
            log_ns = tick.moment.stamp_ns
            if not self.ticks:
                self._write(self._messages.info(self._reason), log_ns)
            for entry in self._messages.of(tick):
                self._write(entry, log_ns)
            self.ticks += 1

    def finish(self) -> Path:
        """End the recording and move it to its final path; return that path.

        If that path has been created in the meantime, a number is appended to the name.
        """
        try:
            self._bag.finish()
            self.place = self._move()
        except BaseException:
            self.discard()
            raise
        self._growing.rmdir()
        sync(self.place.parent)
        return self.place

    def _move(self) -> Path:
        while True:
            place = free_place(self.place.parent, self.place.name)
            try:
                # This never replaces a recording: it fails if the target folder contains files.
                return self._bag.folder.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise

    def discard(self) -> None:
        self._bag.abort()
        shutil.rmtree(self._growing, ignore_errors=True)

    def _write(self, entry: Entry, log_ns: int) -> None:
        self._bag.write(f"{self._namespace}/{entry.topic}", entry.type, log_ns, entry.data)
