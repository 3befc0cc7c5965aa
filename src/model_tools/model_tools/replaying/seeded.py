# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end whose model may be given what was recorded, in the place of what was built."""

from __future__ import annotations

from collections.abc import Mapping

from policy_inference.interfaces import Backend, Tensor


class SeededBackend:
    """Passes everything on; `built` are the inputs before what is `given` replaced them."""

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend; it stays the caller's to close."""
        self._backend = backend
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.built = {name: array.copy() for name, array in self.inputs.items()}
        self.given: Mapping[str, Tensor] = {}

    def run(self) -> None:
        """Keep the inputs, replace those that are given, run."""
        for name, array in self.inputs.items():
            self.built[name][...] = array
        for name, values in self.given.items():
            self.inputs[name][...] = values
        self._backend.run()

    def close(self) -> None:
        """Close the wrapped backend."""
        self._backend.close()
