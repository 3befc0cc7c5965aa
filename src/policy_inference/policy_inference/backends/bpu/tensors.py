# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors as described by a BPU runtime, and their conversion to and from our arrays.

Feature maps have four axes, and may be quantized, padded in memory, or channels-last. All of this
is resolved once, when the model is opened; a run only copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.errors import BackendError
from policy_core.interfaces import F32, F64, Tensor, TensorSpec

_CHANNELS_LAST = (0, 2, 3, 1)
_FLOATS = ("float32", "float16")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantisation:
    """real = (integer - zero_point) * scale; both parameters have shape [1] or [axis size]."""

    scale: F32
    zero_point: F32
    axis: int

    def along(self, shape: tuple[int, ...]) -> tuple[F32, F32]:
        """Return the scale and zero point, shaped for arrays of this shape.

        Raises:
            BackendError: The number of parameters differs from the axis size.
        """
        if self.scale.size == 1:
            return self.scale.reshape(()), self.zero_point.reshape(())
        sizes = [1] * len(shape)
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] != self.scale.size:
            raise BackendError(
                f"bpu: expected one scale per index on axis {self.axis} of {list(shape)}, "
                f"found {self.scale.size}; update the runtime"
            )
        sizes[self.axis] = shape[self.axis]
        return self.scale.reshape(sizes), self.zero_point.reshape(sizes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BpuTensor:
    """An input or output as described by the runtime.

    Attributes:
        name: Tensor name.
        shape: Valid shape.
        memory: Shape in memory, which may include padding.
        dtype: NumPy type name.
        layout: `NCHW`, `NHWC`, or empty if unknown.
        quantisation: Quantization of an integer tensor that represents real numbers.
    """

    name: str
    shape: tuple[int, ...]
    memory: tuple[int, ...]
    dtype: str
    layout: str = ""
    quantisation: Quantisation | None = None

    def spec(self, wanted: TensorSpec | None) -> TensorSpec:
        """Return the spec of the caller's array: `wanted`, as far as conversion is possible."""
        shape, dtype = self.shape, self.dtype
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
        if wanted is not None and self._axes(wanted.shape) is not None:
            shape = wanted.shape
        if self.quantisation is not None or dtype == "float16":
            given = wanted is not None and wanted.dtype in _FLOATS
            dtype = wanted.dtype if wanted is not None and given else "float32"
        return TensorSpec(name=self.name, shape=shape, dtype=dtype)

    def view(self, array: Tensor) -> Tensor:
        """Return a view, with the tensor's axes, of a contiguous array of matching shape."""
        axes = self._axes(array.shape)
        assert axes is not None
        ones = (1,) * (len(self.shape) - array.ndim)
        return array.reshape(array.shape + ones).transpose(axes)

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the tensor axes' indices in `shape`, padded with ones; None if there is no fit."""
        whole = shape + (1,) * (len(self.shape) - len(shape))
        orders = [tuple(range(len(whole)))]
        if len(whole) == 4 and (self.layout == "NHWC" or len(shape) in (2, 4)):
            orders.insert(0 if self.layout == "NHWC" else 1, _CHANNELS_LAST)
        fits = (order for order in orders if tuple(whole[axis] for axis in order) == self.shape)
        return next(fits, None)

    @property
    def valid(self) -> tuple[slice, ...]:
        """Slices that select the valid part of an array in memory."""
        return tuple(slice(size) for size in self.shape)


class InputCopy:
    """Copies one of our arrays to `array`, the runtime's input."""

    def __init__(self, tensor: BpuTensor, ours: Tensor) -> None:
        source = tensor.view(ours)
        alike = source.flags.c_contiguous and tensor.memory == tensor.shape
        self._same = alike and ours.dtype == tensor.dtype and tensor.quantisation is None
        self.array: Tensor = source if self._same else np.zeros(tensor.memory, tensor.dtype)
        self._source, self._valid = source, self.array[tensor.valid]
        self._quantised: tuple[F32, F32, F64, tuple[float, float]] | None = None
        if tensor.quantisation is not None:
            limits = np.iinfo(tensor.dtype)
            self._quantised = (
                *tensor.quantisation.along(tensor.shape),
                np.zeros(tensor.shape),
                (limits.min, limits.max),
            )

    def update(self) -> None:
        """Copy the current values of our array, which must be finite."""
        if self._same:
            return
        if self._quantised is None:
            np.copyto(self._valid, self._source, casting="unsafe")
            return
        scale, zero_point, scratch, (low, high) = self._quantised
        np.divide(self._source, scale, out=scratch, dtype=np.float64)
        np.rint(scratch, out=scratch)
        np.add(scratch, zero_point, out=scratch)
        np.clip(scratch, low, high, out=scratch)
        np.copyto(self._valid, scratch, casting="unsafe")


class OutputCopy:
    """Copies an array of the runtime to one of ours."""

    def __init__(self, tensor: BpuTensor, ours: Tensor) -> None:
        self._name, self._ours, self._valid = tensor.name, tensor.view(ours), tensor.valid
        self._shapes, self._dtype = (tensor.shape, tensor.memory), np.dtype(tensor.dtype)
        self._quantised = (
            None if tensor.quantisation is None else tensor.quantisation.along(tensor.shape)
        )

    def __call__(self, array: npt.NDArray[np.generic]) -> None:
        """Copy the valid part, converted to real numbers.

        Raises:
            BackendError: The array differs from the model's description.
        """
        if array.shape not in self._shapes or array.dtype != self._dtype:
            array = self._with_axes(array)
        values = array[self._valid]
        if self._quantised is None:
            np.copyto(self._ours, values, casting="same_kind")
            return
        scale, zero_point = self._quantised
        np.subtract(values, zero_point, out=self._ours, casting="same_kind")
        np.multiply(self._ours, scale, out=self._ours, casting="same_kind")

    def _with_axes(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the array in the described shape; it may differ only by axes of size one."""
        shape = self._shapes[0]
        alike = [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
        if not alike or array.dtype != self._dtype:
            raise BackendError(
                f"bpu: output {self._name}: expected {self._dtype}{list(shape)} as "
                f"stated in the model, found {array.dtype}{list(array.shape)}; update "
                "the runtime"
            )
        return array.reshape(shape)
