# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A double of the package `tensorrt` over a `Gpu`, driven by ONNX Runtime.

It has the names of one version and no others, and refuses what that version refuses: models
(see `onnx_parser`), builds without the flags that a model needs, plans of another version or GPU,
operators without registered plugins, runs without addresses, a recording before the first run.

Not known without a GPU: the words of most refusals, and what is said where; a Python object that is
kept alive by another one is so here as far as the samples and issues of TensorRT tell.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from .flavours import Flavour
from .gpu import CudaError, Gpu
from .onnx_parser import DTYPES, PLUGIN_OPERATORS, Dims, Network, OnnxParser

_HEADER = b"plan"


class Severity(Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    """The base of loggers; one whose own initialiser was not called is none."""

    Severity = Severity

    def __init__(self) -> None:
        self.initialised = True

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


def tensorrt(flavour: Flavour, gpu: Gpu, *, broken: bool = False) -> ModuleType:
    """Return the module; `broken`: the library does not start."""
    module = ModuleType("tensorrt")

    def starting(cls: type[Any]) -> Any:
        def make(*args: Any) -> Any:
            logger = args[-1]
            assert isinstance(logger, ILogger)
            assert logger.initialised
            if broken:
                logger.log(Severity.WARNING, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            return cls(flavour, gpu, *args)

        return make

    flags = {name: number for number, name in enumerate(flavour.precision_flags)}
    vars(module).update(
        __version__=flavour.version,
        ILogger=ILogger,
        Builder=starting(Builder),
        Runtime=starting(Runtime),
        OnnxParser=starting(OnnxParser),
        BuilderFlag=SimpleNamespace(**flags, TF32=20),
        NetworkDefinitionCreationFlag=SimpleNamespace(**_network_flags(flavour)),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        LayerType=SimpleNamespace(QUANTIZE="QuantizeLinear"),
        DataType=SimpleNamespace(**{n: n for n in DTYPES.values()}),
        TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
        TensorLocation=SimpleNamespace(DEVICE="device", HOST="host"),
        init_libnvinfer_plugins=partial(_register_plugins, gpu),
    )
    return module


def _register_plugins(gpu: Gpu, logger: ILogger, namespace: str) -> bool:
    assert logger.initialised
    if why := gpu.failing.get("plugins"):
        logger.log(Severity.ERROR, why)
        return False
    gpu.plugins = True
    return True


def _network_flags(flavour: Flavour) -> dict[str, int]:
    """Return the flags by name; their bits move up where one is gone."""
    names = [
        *(["EXPLICIT_BATCH"] if flavour.explicit_batch is not None else []),
        *(["STRONGLY_TYPED"] if flavour.since_10 else []),
    ]
    return {name: bit for bit, name in enumerate(names)}


class HostMemory:
    """What builders return: a buffer that `bytes` copies, and no `bytes` itself."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.nbytes = len(content)

    def __bytes__(self) -> bytes:
        return self._content


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        assert low == best == high
        self.shapes[name] = tuple(best)


class Config:
    def __init__(self) -> None:
        self.flags: set[int] = {20}
        self.profiles: list[Profile] = []
        self.workspace: int | None = None

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        assert pool == "workspace"
        self.workspace = size

    def add_optimization_profile(self, profile: Profile) -> int:
        if any(axis < 1 for shape in profile.shapes.values() for axis in shape):
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    """Builds plans: the model, and what it was built for."""

    def __init__(self, flavour: Flavour, gpu: Gpu, logger: ILogger) -> None:
        self._flavour, self._gpu, self._logger = flavour, gpu, logger
        self.configs: list[Config] = []

    def create_network(self, flags: int = 0) -> Network:
        known = _network_flags(self._flavour)
        assert flags < 1 << len(known), "a flag that this version has not"
        given = {name for name, bit in known.items() if flags & 1 << bit}
        return Network(
            flavour=self._flavour,
            gpu=self._gpu,
            explicit_batch="EXPLICIT_BATCH" in given,
            typed="STRONGLY_TYPED" in given or not self._flavour.precision_flags,
        )

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None:
        self._gpu.calls.append("build")
        if self._gpu.warning:
            self._logger.log(Severity.WARNING, self._gpu.warning)
        wrong = self._gpu.failing.get("build") or self._objection(network, config)
        if wrong:
            self._logger.log(Severity.ERROR, wrong)
            return None
        precision = sorted({self._flavour.precision_flags[i] for i in config.flags if i < 20})
        content = network.model.SerializeToString()
        header = {
            "version": self._flavour.version,
            "gpu": self._gpu.capability,
            "flags": precision,
            "tf32": 20 in config.flags,
            "workspace": config.workspace,
            "typed": network.typed,
            "shapes": {k: v for each in config.profiles for k, v in each.shapes.items()},
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        text = json.dumps(header).encode()
        return HostMemory(_HEADER + len(text).to_bytes(4, "little") + text + content)

    def _objection(self, network: Network, config: Config) -> str | None:
        known = self._flavour.precision_flags
        given = {known[number] for number in config.flags if number < len(known)}
        if not network.typed and "HALF" in network.dtypes() and "FP16" not in given:
            return "fp16 precision has been set for a layer, but fp16 is not configured"
        if not network.typed and network.quantised() and "INT8" not in given:
            return "int8 precision has been set for a layer, but int8 is not configured"
        sized = config.profiles[0].shapes if config.profiles else {}
        if not network.open_inputs() <= set(sized):
            return "Network has dynamic or shape inputs, but no optimization profile was defined"
        return None


class Runtime:
    """Loads plans of its own version and GPU."""

    def __init__(self, flavour: Flavour, gpu: Gpu, logger: ILogger) -> None:
        self._flavour, self._gpu, self._logger = flavour, gpu, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if plan[:4] != _HEADER:
            return self._refused("Serialization assertion magicTagRead == kPLAN_MAGIC failed")
        start = 8 + int.from_bytes(plan[4:8], "little")
        header, model = json.loads(plan[8:start]), plan[start:]
        if header["version"] != self._flavour.version:
            return self._refused(
                "Serialization assertion stdVersionRead == serializationVersion "
                "failed. Version tag does not match."
            )
        if tuple(header["gpu"]) != self._gpu.capability:
            return self._refused("engine plan file is generated on an incompatible device")
        if hashlib.sha256(model).hexdigest() != header["sha256"]:
            return self._refused("Serialization error in verifyHeader")
        engine = Engine(self._flavour, self._gpu, self._logger, model, header["shapes"])
        if not self._gpu.plugins and engine.plugin_operators:
            return self._refused(
                "Serialization assertion creator failed.Cannot deserialize plugin "
                "since corresponding IPluginCreator not found in Plugin Registry"
            )
        return engine

    def _refused(self, why: str) -> Engine | None:
        self._logger.log(Severity.ERROR, why)
        return None


class Engine:
    """Describes tensors by name."""

    def __init__(
        self, flavour: Flavour, gpu: Gpu, logger: ILogger, model: bytes, shapes: dict[str, Any]
    ) -> None:
        self.gpu, self.logger, self.shapes = gpu, logger, shapes
        self.narrow = not flavour.since_10
        nodes = onnx.load_model_from_string(model).graph.node
        self.plugin_operators = PLUGIN_OPERATORS & {node.op_type for node in nodes}
        gpu.engines.add(self)
        options = onnxruntime.SessionOptions()
        # A GPU's integer sums never saturate; those of some processors do.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.outputs = {node.name: node for node in self.session.get_outputs()}
        self._all: dict[str, Any] = {**self.inputs, **self.outputs}
        self.num_io_tensors = len(self._all)

    def get_tensor_name(self, place: int) -> str:
        return list(self._all)[place]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = {"float": "FLOAT", "float16": "HALF"}
        kind = self._all[name].type.removeprefix("tensor(").removesuffix(")")
        name = kinds.get(kind, kind.upper())
        return SimpleNamespace(name="INT32" if name == "INT64" and self.narrow else name)

    def get_tensor_location(self, name: str) -> str:
        return self.gpu.failing.get("location", "device")

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(a if isinstance(a, int) else -1 for a in self._all[name].shape)

    def create_execution_context(self) -> Context | None:
        if why := self.gpu.failing.get("context"):
            self.logger.log(Severity.ERROR, why)
            return None
        return Context(self)


class Context:
    """Runs an engine: everything must be set, and is checked when it is enqueued."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()
        self._shapes = {name: tuple(engine.get_tensor_shape(name)) for name in engine.inputs}
        self._ran = False
        engine.gpu.engines.add(self)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        allowed = tuple(self._engine.shapes.get(name, self._engine.get_tensor_shape(name)))
        if tuple(shape) != allowed:
            return self._refused(f"{name}: {shape} is not in the profile's range {allowed}")
        self._shapes[name], self._ran = tuple(shape), False
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._shapes:
            return Dims(self._shapes[name])
        if any(-1 in shape for shape in self._shapes.values()):
            return self._engine.get_tensor_shape(name)
        zeros = {
            n: np.zeros(self._shapes[n], _numpy(node)) for n, node in self._engine.inputs.items()
        }
        return Dims(self._engine.session.run([name], zeros)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert type(memory) is int
        if memory not in self._engine.gpu.memory:
            return self._refused(f"{name}: no memory of this GPU")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        gpu, names = self._engine.gpu, {**self._engine.inputs, **self._engine.outputs}
        assert type(stream_handle) is int
        recording = gpu.streams[stream_handle].recorded is not None if stream_handle else False
        if recording and (why := gpu.failing.get("recording")):
            return self._refused(why)
        try:
            gpu.enter("execute_async_v3")
        except CudaError as fault:
            return self._refused(f"Cuda Runtime ({fault})")
        if set(self._addresses) != set(names):
            return self._refused("not all tensors have addresses")
        if recording and not self._ran:
            return self._refused("operation not permitted when stream is capturing")
        self._ran = True
        gpu.put(stream_handle, self._execute)
        return True

    def _execute(self) -> None:
        gpu = self._engine.gpu
        if fault := gpu.failing.get("kernel"):
            raise CudaError(fault)
        inputs = {}
        for name, node in self._engine.inputs.items():
            dtype, shape = _numpy(node), self._shapes[name]
            size = int(np.prod(shape)) * dtype.itemsize
            inputs[name] = gpu.memory[self._addresses[name]][:size].view(dtype).reshape(shape)
        names = list(self._engine.outputs)
        for name, array in zip(names, self._engine.session.run(names, inputs), strict=True):
            gpu.memory[self._addresses[name]][: array.nbytes] = array.reshape(-1).view(np.uint8)

    def _refused(self, why: str) -> bool:
        self._engine.logger.log(Severity.ERROR, why)
        return False


def _numpy(node: Any) -> np.dtype[Any]:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    found: np.dtype[Any] = np.dtype({"float": "float32"}.get(kind, kind))
    return found
