# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: the default back end and the reference for all others."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_core.onnx_file import LARGEST_BYTES, require_whole
from policy_core.safe_files import read_at_most
from policy_inference.backends.base import BackendBase
from policy_inference.machine.machine import Finding, Machine

_NATIVE_BYTES = 2**25
"""Maximum model size for the native core; its joint policies are all smaller."""


def runtime_library() -> Path:
    """Return the path of the installed ONNX Runtime's shared library; the file need not exist."""
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    return max(folder.glob("libonnxruntime.so.*"), default=folder / "libonnxruntime.so")


class OnnxBackend(BackendBase):
    """Runs a model on one CPU thread without spinning, with fixed buffers and non-saturating sums.

    With more threads or spinning, individual calls can be milliseconds late on a busy machine: for
    a 45-512-256-128-12 network, p99.9 is 39 us with these options and 4 ms with the defaults.
    """

    name = "onnx"

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return findings about ONNX Runtime (version and providers) and the artifact."""
        try:
            import onnxruntime
        except ImportError as error:
            return [Finding.error("onnxruntime", str(error), "pip install onnxruntime")]
        providers = ", ".join(onnxruntime.get_available_providers())
        return [
            Finding(
                name="onnxruntime",
                found=f"{onnxruntime.__version__} ({providers}; CPUExecutionProvider is used)",
            ),
            *(cls.cautions(machine, artifact) if artifact else ()),
        ]

    @classmethod
    def cautions(cls, machine: Machine, artifact: Artifact) -> Sequence[Finding]:
        """Warn if a program with default settings would compute an int8 model incorrectly."""
        if (
            artifact.precision != "int8"
            or artifact.integers == "unsigned"
            or not _saturates(machine.cpu_flags())
        ):
            return []
        return [
            Finding.warning(
                "int8",
                f"{artifact.file}: {artifact.integers or 'possibly signed'} integers on a "
                "processor without VNNI, where their sums saturate; here they are converted to "
                "unsigned when the model is loaded, but other programs get different results",
                "compile it again with `model_tools compile onnx --precision int8`, which makes "
                "unsigned integers, whose sums are exact on every processor",
            )
        ]

    @classmethod
    def tensors(cls, file: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return _tensors(file, cls._load(file)[0])

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._session, version, model = self._load(file)
        self._model = model if len(model) <= _NATIVE_BYTES else None
        details = {"runtime": f"onnxruntime {version}", "device": "CPU, 1 thread"}
        return *_tensors(file, self._session), details

    @staticmethod
    def _load(file: Path) -> tuple[Any, str, bytes]:
        """Return a session for the file, the ONNX Runtime version, and the model's content."""
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(f"onnx: {error}; install the onnxruntime package") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # On processors with AVX2 and without VNNI, products of signed weights are added in pairs in
        # 16 bits, which saturate; this option makes ONNX Runtime convert them to unsigned there,
        # and nowhere else.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # `require_whole` parsed the file as protobuf, so the runtime must do the same. It rejects
        # references to external files; should one remain, no file exists at this path.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.devnull
        )
        # Fatal errors only: others arrive as exceptions, and must not be logged at the policy's
        # rate.
        options.log_severity_level = 4
        try:
            model = read_at_most(file, LARGEST_BYTES)
        except OSError as error:
            raise BackendError(f"{file}: expected a model, found {error.strerror}") from error
        require_whole(file, model)
        # The verified bytes, as a file that no other process can change. ONNX Runtime copies bytes
        # while it holds the GIL (100 MB: up to 98 ms instead of 5).
        with _in_memory(model) as place:
            try:
                session = onnxruntime.InferenceSession(
                    place, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # the runtime's exceptions have no other common base
                raise BackendError(
                    f"{file}: not a model that ONNX Runtime {onnxruntime.__version__} loads: "
                    + str(error).replace(place, str(file))
                ) from error
        return session, onnxruntime.__version__, model

    def native_model(self) -> Any:
        """Return the model for the native core's ONNX Runtime; None if the core cannot run it.

        The native core uses the same package's library, with bit-identical results.
        """
        from policy_core_native import OnnxModel

        library = runtime_library()
        dtypes = {array.dtype.name for array in (*self.inputs.values(), *self.outputs.values())}
        if not library.is_file() or self._model is None or not dtypes <= {"float32", "float64"}:
            return None
        return OnnxModel(str(library), self._model)

    def _bind(self) -> None:
        self._binding: Any = self._session.io_binding()
        for name, array in self.inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _run(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime's exceptions have no other common base
            raise BackendError(f"onnx: {error}") from error

    def _close(self) -> None:
        self._session = self._binding = self._model = None


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of an anonymous file with `content`, which is deleted at the end."""
    handle = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _saturates(flags: Collection[str]) -> bool:
    """Return True if a processor with these features adds int8 products in 16 bits."""
    return "avx2" in flags and not {"avx_vnni", "avx512_vnni"} & set(flags)


def _tensors(file: Path, session: Any) -> tuple[list[TensorSpec], list[TensorSpec]]:
    return (
        [_spec(file, node) for node in session.get_inputs()],
        [_spec(file, node) for node in session.get_outputs()],
    )


def _spec(file: Path, node: Any) -> TensorSpec:
    """Describe a model tensor; dynamic axes are -1."""
    if node.type not in _DTYPES:
        raise BackendError(
            f"{file}: tensor {node.name}: expected one of {', '.join(_DTYPES)}, found {node.type}"
        )
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in node.shape)
    return TensorSpec(name=node.name, shape=shape, dtype=_DTYPES[node.type])


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
