# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of Eclipse Cyclone DDS that older versions of it can read; messages are bytes.

The Python binding of version 11 describes each type to all participants (XTypes). Version 0.10,
which Unitree's SDK uses, cannot read these descriptions: its Python programs crash, its C++
programs receive nothing. So topics are created here through the C functions of the binding's own
library, which leave the description out. Participants, QoS and lifetimes are the binding's.
"""

from __future__ import annotations

import ctypes as ct
from typing import Any, NamedTuple

from cyclonedds.core import DDSException, Entity
from cyclonedds.internal import DDS
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

_AT_ONCE = 16
# Of dds/ddsc/dds_opcodes.h: a field (ADR), and its kind.
_END, _BYTES, _TEXT, _SEQUENCE = 0x0, 0x1080100, 0x1050000, 0x1070100


class _Serialized(ct.Structure):
    _fields_ = (("data", ct.c_void_p), ("size", ct.c_uint32))


class _Descriptor(ct.Structure):
    """`dds_topic_descriptor_t` of version 11."""

    _fields_ = (
        ("size", ct.c_uint32),
        ("align", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("key_count", ct.c_uint32),
        ("type_name", ct.c_char_p),
        ("keys", ct.c_void_p),
        ("instruction_count", ct.c_uint32),
        ("instructions", ct.POINTER(ct.c_uint32)),
        ("xml", ct.c_char_p),
        ("type_information", _Serialized),
        ("type_mapping", _Serialized),
        ("representations", ct.c_uint32),
    )


class _Info(ct.Structure):
    """`dds_sample_info_t`."""

    _fields_ = (
        ("states", ct.c_int * 3),
        ("valid", ct.c_bool),
        ("written_ns", ct.c_int64),
        ("instance", ct.c_uint64),
        ("writer", ct.c_uint64),
        ("counts", ct.c_uint32 * 5),
    )


class _Sequence(ct.Structure):
    """`dds_sequence_t`."""

    _fields_ = (
        ("maximum", ct.c_uint32),
        ("length", ct.c_uint32),
        ("buffer", ct.c_void_p),
        ("release", ct.c_bool),
    )


_library = DDS._dll_handle
_create_topic, _write, _take = (
    _library.dds_create_topic,
    _library.dds_write,
    _library.dds_take,
)
_create_topic.argtypes = (
    ct.c_int32,
    ct.POINTER(_Descriptor),
    ct.c_char_p,
    ct.c_void_p,
    ct.c_void_p,
)
_write.argtypes = (ct.c_int32, ct.c_void_p)
_take.argtypes = (ct.c_int32, ct.c_void_p, ct.c_void_p, ct.c_size_t, ct.c_uint32)


class WireType(NamedTuple):
    """How messages of a type are on the wire.

    Attributes:
        name: The type's name in DDS.
        size: Number of bytes, without the 4 of the encapsulation. What a sender adds is ignored.
        text: Whether a string and a sequence of bytes follow, of which the sequence is not used.
    """

    name: str
    size: int
    text: bool = False


class WireMessage(NamedTuple):
    """A message: the bytes of its `WireType`, without encapsulation, and the string."""

    data: bytes
    text: bytes = b""


class BytesTopic(Topic):  # type: ignore[misc]
    """A topic without a description of its type."""

    def __init__(self, participant: Any, name: str, wire: WireType) -> None:
        fields: list[tuple[str, Any]] = [("data", ct.c_ubyte * wire.size)]
        if wire.text:
            fields += [("text", ct.c_char_p), ("sequence", _Sequence)]
        sample: Any = type("_Sample", (ct.Structure,), {"_fields_": fields})
        operations = [_BYTES, 0, wire.size]
        if wire.text:
            operations += [_TEXT, sample.text.offset, _SEQUENCE, sample.sequence.offset]
        operations.append(_END)
        descriptor = _Descriptor(
            size=ct.sizeof(sample),
            align=ct.alignment(sample),
            type_name=wire.name.encode(),
            instruction_count=len(operations),
            instructions=(ct.c_uint32 * len(operations))(*operations),
        )
        self.sample, self.data_type = sample, None
        Entity.__init__(
            self, _create_topic(participant._ref, descriptor, name.encode(), None, None)
        )
        self._keepalive_entities = [participant]


class TopicWriter:
    """Publishes messages of one topic."""

    def __init__(self, participant: Any, name: str, wire: WireType, qos: Any) -> None:
        self._topic = BytesTopic(participant, name, wire)
        self._writer = DataWriter(participant, self._topic, qos=qos)

    def write(self, message: WireMessage) -> None:
        sample = self._topic.sample()
        ct.memmove(ct.byref(sample), message.data, len(message.data))
        if message.text:
            sample.text = message.text
        status = _write(self._writer._ref, ct.byref(sample))
        if status < 0:
            raise DDSException(status, "Occurred while writing a message")


class TopicReader:
    """Receives messages of one topic."""

    def __init__(self, participant: Any, name: str, wire: WireType, qos: Any) -> None:
        topic = BytesTopic(participant, name, wire)
        self._reader = DataReader(participant, topic, qos=qos)
        self._text = wire.text
        # The library allocates the texts, and frees each one when it writes the next in its place.
        self._samples = (topic.sample * _AT_ONCE)()
        self._places = (ct.c_void_p * _AT_ONCE)(*(ct.addressof(one) for one in self._samples))
        self._infos = (_Info * _AT_ONCE)()

    def take(self) -> list[WireMessage]:
        """Return up to 16 messages that have arrived, the oldest first."""
        count = _take(self._reader._ref, self._places, self._infos, _AT_ONCE, _AT_ONCE)
        if count < 0:
            raise DDSException(count, "Occurred while taking messages")
        return [
            WireMessage(bytes(sample.data), (sample.text or b"") if self._text else b"")
            # Where no sample is valid, it only says that a writer has gone.
            for sample, info in zip(self._samples[:count], self._infos[:count], strict=True)
            if info.valid
        ]
