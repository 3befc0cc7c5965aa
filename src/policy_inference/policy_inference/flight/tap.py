# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the model was given and what it answered, taken down while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from policy_inference.flight.ring import Ring
from policy_inference.interfaces import Backend, Tensor


class Tap:
    """A backend that passes everything on, and shows each run to a ring.

    A controller that is given a tap in the place of its backend does what it did before.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend, which stays the caller's to close."""
        self._backend = backend
        self.name = backend.name
        self.inputs: Mapping[str, Tensor] = backend.inputs
        self.outputs: Mapping[str, Tensor] = backend.outputs
        self.details = backend.details
        self._ring: Ring | None = None

    def show(self, ring: Ring | None) -> None:
        """Show each run to this ring from now on; None: to nobody."""
        self._ring = ring

    def run(self) -> None:
        """Run the model.

        Raises:
            BackendError: As the backend's own; what the model was given is in the ring then too.
        """
        ring = self._ring
        if ring is None:
            self._backend.run()
            return
        ring.take_inputs()
        self._backend.run()
        ring.take_outputs()

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
