# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2, over gRPC: its messages, and the tensors in them.

https://github.com/kserve/open-inference-protocol. The message classes are created on first use with
the installed protobuf, because generated modules work only with some protobuf versions.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from policy_core.errors import PolicyError, shown
from policy_core.interfaces import Tensor, TensorSpec

SERVICE = "inference.GRPCInferenceService"
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
)
MODEL_CONFIG = "ModelConfig"
"""Method that only Triton provides."""
POLICY_SHA256 = "policy_sha256"
"""Parameter with the served model file's SHA-256, in hex digits."""
DATATYPES: Mapping[str, str] = {
    "float32": "FP32",
    "float16": "FP16",
    "int64": "INT64",
    "int32": "INT32",
    "uint8": "UINT8",
}
"""The protocol's names for tensor types."""
_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_TYPED = {
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "UINT8": "uint_contents",
}
"""Fields that hold a tensor's values if the response has no raw bytes, by datatype."""
_PROTOCOL = """
ServerLiveRequest:
ServerLiveResponse: bool live = 1
ServerReadyRequest:
ServerReadyResponse: bool ready = 1
ModelReadyRequest: string name = 1; string version = 2
ModelReadyResponse: bool ready = 1
ServerMetadataRequest:
ServerMetadataResponse: string name = 1; string version = 2; repeated string extensions = 3
ModelMetadataRequest: string name = 1; string version = 2
TensorMetadata: string name = 1; string datatype = 2; repeated int64 shape = 3
ModelMetadataResponse: string name = 1; repeated string versions = 2; string platform = 3; \
repeated TensorMetadata inputs = 4; repeated TensorMetadata outputs = 5
InferParameter: bool bool_param = 1; int64 int64_param = 2; string string_param = 3; \
double double_param = 4; uint64 uint64_param = 5
InferTensorContents: repeated bool bool_contents = 1; repeated int32 int_contents = 2; \
repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4; \
repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6; \
repeated double fp64_contents = 7; repeated bytes bytes_contents = 8
InferTensor: string name = 1; string datatype = 2; repeated int64 shape = 3; \
map InferParameter parameters = 4; InferTensorContents contents = 5
RequestedOutput: string name = 1; map InferParameter parameters = 2
ModelInferRequest: string model_name = 1; string model_version = 2; string id = 3; \
map InferParameter parameters = 4; repeated InferTensor inputs = 5; \
repeated RequestedOutput outputs = 6; repeated bytes raw_input_contents = 7
ModelInferResponse: string model_name = 1; string model_version = 2; string id = 3; \
map InferParameter parameters = 4; repeated InferTensor outputs = 5; \
repeated bytes raw_output_contents = 6
ModelConfigRequest: string name = 1; string version = 2
ModelParameter: string string_value = 1
ModelConfig: string name = 1; map ModelParameter parameters = 14
ModelConfigResponse: ModelConfig config = 1
"""
"""The protocol, and the Triton extensions in use. Maps have string keys."""
_FIELD = re.compile(r"(?:(repeated|map) )?(\w+) (\w+) = (\d+)")
_LARGEST_OVERHEAD = 1 << 16
"""Maximum number of bytes in a message besides its tensor contents."""


@cache
def message_classes() -> Mapping[str, Any]:
    """Return the message classes by name, such as `ModelInferRequest`."""
    from google.protobuf import (  # type: ignore[import-untyped]  # carries no types
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    if not hasattr(message_factory, "GetMessageClass"):
        raise ImportError("protobuf is older than 4.22")
    file = descriptor_pb2.FileDescriptorProto(
        name="open_inference.proto", package="inference", syntax="proto3"
    )
    for line in _PROTOCOL.strip().splitlines():
        name, _, fields = line.partition(":")
        _declare(file.message_type.add(name=name), fields, descriptor_pb2.FieldDescriptorProto)
    # A pool of its own: another client in this process may have registered the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"inference.{message.name}")
        )
        for message in file.message_type
    }


def _declare(message: Any, fields: str, field_class: Any) -> None:
    for label, kind, name, number in _FIELD.findall(fields):
        plain = getattr(field_class, f"TYPE_{kind.upper()}", None)
        made = message.field.add(
            name=name,
            number=int(number),
            label=field_class.LABEL_REPEATED if label else field_class.LABEL_OPTIONAL,
            type=plain or field_class.TYPE_MESSAGE,
        )
        if plain is None:
            made.type_name = f".inference.{kind}"
        if label == "map":
            entry = message.nested_type.add(name=f"{name.title()}Entry")
            entry.options.map_entry = True
            _declare(entry, f"string key = 1; {kind} value = 2", field_class)
            made.type_name = f".inference.{message.name}.{entry.name}"


def message_bytes(specs: Sequence[TensorSpec]) -> int:
    contents = sum(int(np.prod(one.shape)) * np.dtype(one.dtype).itemsize for one in specs)
    return contents + _LARGEST_OVERHEAD


def described(tensors: Sequence[Any]) -> list[TensorSpec]:
    """Return the tensors described in a server's metadata; -1 for a dynamic axis."""
    specs = list[TensorSpec]()
    for one in tensors:
        if one.datatype not in _DTYPES:
            raise PolicyError(
                f"tensor {one.name}: expected one of {', '.join(_DTYPES)}, found {one.datatype}"
            )
        shape = tuple(int(size) if size > 0 else -1 for size in one.shape)
        # Names come from another machine; ours are always printable.
        specs.append(TensorSpec(name=shown(one.name), shape=shape, dtype=_DTYPES[one.datatype]))
    return specs


class WireTensors:
    """Writes the input or output tensors of a model to messages, and reads them from messages."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        """Prepare for tensors with these specs; with a dynamic axis (-1), only `describe` works."""
        self._known = {one.name: (DATATYPES[one.dtype], [*one.shape]) for one in specs}

    def describe(self, tensors: Any, names: Container[str] | None = None) -> None:
        """Add descriptions of the tensors (all, or only the named ones) to a repeated field."""
        for name, (datatype, shape) in self._known.items():
            if names is None or name in names:
                tensors.add(name=name, datatype=datatype, shape=shape)

    def write(
        self, raw: Any, arrays: Mapping[str, Tensor], names: Container[str] | None = None
    ) -> None:
        """Add the bytes of arrays to a repeated field, in the order of `describe`."""
        raw.extend(arrays[name].tobytes() for name in self._known if names is None or name in names)

    def read(
        self, tensors: Sequence[Any], raw: Sequence[bytes], into: Mapping[str, Tensor]
    ) -> None:
        found = dict(self._found(tensors, raw, into))
        if found.keys() != self._known.keys():
            raise PolicyError(
                f"expected the tensors {', '.join(self._known)}, found {', '.join(found) or 'none'}"
            )
        for name, values in found.items():
            np.copyto(into[name], values)

    def _found(
        self, tensors: Sequence[Any], raw: Sequence[bytes], into: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        if raw and len(raw) != len(tensors):
            raise PolicyError(
                f"expected the bytes of {len(tensors)} tensors, found those of {len(raw)}"
            )
        names = set[str]()
        for number, one in enumerate(tensors):
            known = self._known.get(one.name)
            if known is None or one.name in names:
                raise PolicyError(
                    f"expected each tensor once ({', '.join(self._known)}), found {one.name!r}"
                )
            names.add(one.name)
            datatype, shape = known
            if one.datatype != datatype or one.shape != shape:
                raise PolicyError(
                    f"tensor {one.name}: expected {datatype}{shape}, found "
                    f"{one.datatype}{[*one.shape]}"
                )
            array = into[one.name]
            if raw:
                content: Any = raw[number]
            else:
                content = np.array(getattr(one.contents, _TYPED.get(datatype, ""), ()), array.dtype)
            size = memoryview(content).nbytes
            if size != array.nbytes:
                raise PolicyError(f"tensor {one.name}: expected {array.nbytes} bytes, found {size}")
            yield one.name, np.frombuffer(content, array.dtype).reshape(array.shape)
