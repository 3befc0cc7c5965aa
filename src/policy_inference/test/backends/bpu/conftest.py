# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A board without BPU, with doubles of the vendor's runtimes."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.testing.case import ACTIONS, OBS

from .cases import use_doubles


@pytest.fixture(autouse=True)
def bpu_board(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the board so, with runtimes that were not imported yet."""

    def apply(**what: object) -> None:
        use_doubles(monkeypatch)
        monkeypatch.setenv("BPU_BOARD", json.dumps(what))

    apply()
    return apply


@pytest.fixture
def open_file() -> Iterator[Callable[..., BackendBase]]:
    with ExitStack() as stack:

        def apply(
            file: Path,
            *,
            cls: Callable[..., BackendBase] = BpuBackend,
            inputs: Any = (OBS,),
            outputs: Any = (ACTIONS,),
            target: str | None = None,
            **options: str,
        ) -> BackendBase:
            backend = cls(file, inputs, outputs, precision="int8", target=target, options=options)
            return stack.enter_context(closing(backend))

        yield apply
