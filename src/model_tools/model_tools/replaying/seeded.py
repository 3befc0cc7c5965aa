# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end whose model is given what was recorded, and said to have answered it."""

from __future__ import annotations

from collections.abc import Mapping

from policy_inference.interfaces import Backend, Tensor


class SeededBackend:
    """Passes everything on, but for what is recorded.

    Attributes:
        given: Inputs to run the model on, in the place of those that were built.
        said: Outputs to go on with, in the place of those that the model answers.
        built, answered: What these replaced.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend; it stays the caller's to close."""
        self._backend = backend
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.built = {name: array.copy() for name, array in self.inputs.items()}
        self.answered = {name: array.copy() for name, array in self.outputs.items()}
        self.given: Mapping[str, Tensor] = {}
        self.said: Mapping[str, Tensor] = {}

    def run(self) -> None:
        """Keep the inputs, replace those that are given, run; the same for the outputs."""
        for name, array in self.inputs.items():
            self.built[name][...] = array
        for name, values in self.given.items():
            self.inputs[name][...] = values
        self._backend.run()
        for name, array in self.outputs.items():
            self.answered[name][...] = array
        for name, values in self.said.items():
            self.outputs[name][...] = values

    def close(self) -> None:
        """Close the wrapped backend."""
        self._backend.close()


def fit(found: Mapping[str, Tensor], arrays: Mapping[str, Tensor], *, or_none: bool = False
         ) -> bool:  # fmt: skip
    """Return whether recorded tensors are those of a model, or, where allowed, there are none."""
    if or_none and not found:
        return True
    return ({name: each.shape for name, each in found.items()}
            == {name: each.shape for name, each in arrays.items()})


def shapes(tensors: Mapping[str, Tensor]) -> str:
    """Return names and shapes in words."""
    return ", ".join(f"{name}{list(each.shape)}" for name, each in tensors.items()) or "none"
