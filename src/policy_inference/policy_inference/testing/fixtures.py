# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What all parts of the conformance suite stand on."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.testing.case import ACTIONS, OBS, BackendCase, Open, Specs
from policy_inference.testing.models import save_linear


class ConformanceFixtures:
    """Models, and a way to open them; see `conformance.BackendConformance`."""

    @pytest.fixture(autouse=True)
    def _machine(self, case: BackendCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Make the machine what the case wants, with a cache folder of the test's own."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        case.prepare(monkeypatch)

    @pytest.fixture
    def open_file(self, case: BackendCase) -> Iterator[Open]:
        """Open a file of the back end; what is open at the end is closed."""
        with ExitStack() as stack:

            def apply(
                file: Path, inputs: Specs = (OBS,), outputs: Specs = (ACTIONS,), **changed: Any
            ) -> BackendBase:
                stated = {
                    "precision": case.precision,
                    "target": case.target,
                    "options": case.options,
                    **changed,
                }
                backend = case.backend(file, inputs, outputs, **stated)
                return stack.enter_context(closing(backend))

            yield apply

    @pytest.fixture
    def open_model(self, case: BackendCase, open_file: Open) -> Open:
        """Compile an ONNX file and open it."""

        def apply(onnx: Path, *args: Any, **kwargs: Any) -> BackendBase:
            return open_file(case.compile(onnx), *args, **kwargs)

        return apply

    @pytest.fixture
    def linear(self, tmp_path: Path) -> Path:
        """ONNX file of actions[1, 3] = obs[1, 5] @ weights."""
        return save_linear(tmp_path / "linear.onnx", 5, 3)
