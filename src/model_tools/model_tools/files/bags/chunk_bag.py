# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy's observations at the ticks of a recording with camera topics."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, refuse_set_back
from model_tools.files.bags.streams import Extract, in_time, newest_times_ns
from model_tools.files.bags.topics import find_topics, is_named
from model_tools.files.rows import RecordedObservation, successive
from policy_core.bundle.chunk_contract import Camera, ChunkContract
from policy_core.errors import RobotError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Times
from policy_core.members.chunk.controller import camera_input, chunk_timeouts_ns
from policy_core.members.chunk.normalise import Units
from policy_core.members.chunk.observation_sync import JOINTS
from policy_core.observation.images import Image, decode, read_frame
from policy_core.observation.pairing import (
    Arrival,
    ObservationAssembler,
    belong_together,
    observations,
)
from policy_core.observation.ticks import fresh_at
from policy_inference.messages.readers import (
    JointOrder,
    JointStateReader,
    VectorReader,
)
from policy_inference.messages.wire import COMPRESSED_IMAGE, IMAGE

_COMPRESSED = ("image_raw/compressed", "compressed")
"""Suffixes that may replace `image_raw` in a recorded camera topic."""
_log = logging.getLogger("model_tools")


class ChunkBagSource:
    """Observations from a recording, at the ticks at which the robot would have had them.

    Ticks are at multiples of the policy's period. As on the robot, no input is older than its
    time-out, and the contract's `pairing` selects the messages of an observation. The time of a
    message is its stamp or, with the rule `newest`, which uses arrival times, its log time.

    Attributes:
        name: Name of the recording's folder or file.
        count: Number of ticks.
    """

    def __init__(self, contract: ChunkContract, path: Path, topics: Mapping[str, str]) -> None:
        """Find a policy's inputs in a recording, and the ticks at which all of them are available.

        Args:
            contract: Contract that states the policy's inputs.
            path: Folder of the recording, or its only file.
            topics: Topics by input (`CAMERA/image_raw`, `joint_states` and the environment state),
                where they were renamed.
        """
        self.name, self._contract, self._bag = path.name, contract, Bag(path)
        self._cameras = {name: _camera_input(self._bag, name, topics) for name in contract.cameras}
        self._topics = find_topics(self._bag, self._types(), topics)
        refuse_set_back(self._bag, self._topics)
        self._decoders = {name: self._bag.decoder(topic) for name, topic in self._topics.items()}
        self._readers = dict(self._found_readers())
        arrived = contract.pairing.rule == "newest"
        self._extract = Extract(received=tuple(self._topics)) if arrived else None
        self._ticks_ns = self._ticks()
        self.count = len(self._ticks_ns)

    def observations(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        """Yield observations; see `ObservationSource.observations`."""
        # As on the robot, a tick without an observation clears the history.
        gaps = np.diff(self._ticks_ns) > self._contract.period_ns
        begins = np.array([0, *(1 + np.flatnonzero(gaps))])
        return successive(
            wanted,
            lambda number: int(begins[np.searchsorted(begins, number, "right") - 1]),
            self._contract.observation_steps,
            self._single,
        )

    def _single(self, wanted: Sequence[int]) -> Iterator[RecordedObservation]:
        cameras = list(self._cameras.values())
        assembler = ObservationAssembler(
            self._contract.pairing, cameras, [name for name in self._topics if name not in cameras]
        )
        arrivals = in_time(self._bag, self._topics, self._contract.period_ns, extract=self._extract)
        found = observations(assembler, arrivals, self._ticks_ns[list(wanted)].tolist())
        for number, paired in zip(wanted, found, strict=True):
            assert paired is not None  # else it is not a tick
            yield self._observation(number, paired.messages)

    def _observation(self, number: int, messages: Mapping[str, Arrival]) -> RecordedObservation:
        found = {name: self._read(arrival) for name, arrival in messages.items()}
        outside = self._contract.environment_state
        return RecordedObservation(
            number=number,
            state=found.get(JOINTS),
            images={camera: found[name] for camera, name in self._cameras.items()},
            environment_state=None if outside is None else found[outside.topic],
        )

    def _read(self, arrival: Arrival) -> Any:
        try:
            return self._readers[arrival.name](self._decoders[arrival.name](arrival.data))
        except (RobotError, struct.error, ValueError) as error:
            raise self._bag.problem(self._topics[arrival.name], arrival.time_ns, error) from error

    def _found_readers(self) -> Iterator[tuple[str, Callable[[Any], Any]]]:
        contract = self._contract
        for camera, name in self._cameras.items():
            yield name, partial(_image, contract.cameras[camera])
        if contract.state is not None:
            joints = contract.state.joints
            order = JointOrder(contract.joints.on_robot(joints))
            yield JOINTS, partial(_joints, len(joints), order, Units(contract.units, joints))
        if contract.environment_state is not None:
            outside = contract.environment_state
            yield outside.topic, partial(_vector, outside.size)

    def _types(self) -> dict[str, tuple[str, ...]]:
        contract = self._contract
        images = (IMAGE, COMPRESSED_IMAGE)
        types: dict[str, tuple[str, ...]] = dict.fromkeys(self._cameras.values(), images)
        if contract.state is not None:
            types[JOINTS] = (JointStateReader.message,)
        if contract.environment_state is not None:
            types[contract.environment_state.topic] = (VectorReader.message,)
        return types

    def _ticks(self) -> Times:
        """Return the times at which all inputs are available, ns."""
        period_ns = self._contract.period_ns
        with newest_times_ns(
            self._bag, self._topics, period_ns, lambda *_: None, self._extract
        ) as found:
            times = {
                name: np.concatenate([np.empty(0, np.int64), *parts])
                for name, parts in found.items()
            }
        first = max(int(each[0]) for each in times.values())
        last = max(int(each[-1]) for each in times.values())
        ticks = np.arange(-(-first // period_ns), last // period_ns + 1) * period_ns
        timeouts_ns = self._timeouts_ns()
        fresh = {name: fresh_at(each, ticks, timeouts_ns[name])[1] for name, each in times.items()}
        frames = {name: times[name] for name in self._cameras.values()}
        paired = belong_together(self._contract.pairing, frames, ticks, period_ns)
        together = np.logical_and.reduce([*fresh.values(), paired])
        why = {
            f"the newest message on {self._topics[name]} is too old": each
            for name, each in fresh.items()
        }
        why["frames are further apart than pairing.tolerance_s"] = paired
        late = ", ".join(
            f"{text} (affected ticks: {np.count_nonzero(~each)})"
            for text, each in why.items()
            if not each.all()
        )
        if not together.any():
            raise ToolError(
                f"{self._bag.path}: expected a tick with all inputs of the policy, found none: "
                f"{late or 'the recording is shorter than one period'}"
            )
        if late:
            _log.warning(
                "%s: %d of %d ticks are left out: %s",
                self._bag.path,
                np.count_nonzero(~together),
                len(ticks),
                late,
            )
        return np.asarray(ticks[together], np.int64)

    def _timeouts_ns(self) -> dict[str, int]:
        """Return the maximum valid age of each input's newest message."""
        limits = limits_in_force(self._contract, StricterLimits())
        timeouts_ns = chunk_timeouts_ns(self._contract, limits)
        return {
            **timeouts_ns,
            **{name: timeouts_ns[camera_input(each)] for each, name in self._cameras.items()},
        }


def _camera_input(bag: Bag, camera: str, given: Mapping[str, str]) -> str:
    """Return a camera's input name, which is the end of its recorded topic's name."""
    names = [camera_input(camera), *(f"{camera}/{end}" for end in _COMPRESSED)]
    recorded = [topic for topic, one in bag.topics.items() if one.count]
    return next(
        (
            name
            for name in names
            if name in given or any(is_named(topic, name) for topic in recorded)
        ),
        names[0],
    )


def _image(camera: Camera, message: Any) -> Image:
    return decode(read_frame(message, camera))


def _joints(count: int, order: JointOrder, units: Units, message: Any) -> F64:
    values = np.empty(count)
    order.take(message.name, np.frombuffer(message.position), values)
    return _finite(units.of_rad(values))


def _vector(size: int, message: Any) -> F64:
    if len(message.data) != size:
        raise RobotError(f"expected {size} values, found {len(message.data)}")
    return _finite(np.asarray(message.data, np.float64))


def _finite(values: F64) -> F64:
    if not np.isfinite(values).all():
        raise RobotError("expected finite values, found NaN or infinity")
    return values
