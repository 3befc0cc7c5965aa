# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A machine with doubles of TensorRT and CUDA, a cache of its own, and a small model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.testing.case import ACTIONS, OBS

from . import machine
from .gpu import Gpu

FROM_CACHE = "from the cache"
Open = Callable[..., TensorRtBackend]
Install = Callable[..., Gpu]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of built engines, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "policy_inference" / "tensorrt"


@pytest.fixture
def install_gpu(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make this machine one with a GPU: see `machine.put_doubles`."""

    def apply(*args: Any, **kwargs: Any) -> Gpu:
        return machine.put_doubles(monkeypatch, *args, **kwargs)

    return apply


@pytest.fixture
def open_trt(linear: Path) -> Iterator[Open]:
    """Open a model, by default the small one, allowed to build; what is open is closed."""
    with ExitStack() as stack:

        def apply(
            file: Path = linear,
            precision: str = "fp32",
            inputs: Any = (OBS,),
            outputs: Any = (ACTIONS,),
            **options: str,
        ) -> TensorRtBackend:
            options.setdefault("build", "yes")
            backend = TensorRtBackend(file, inputs, outputs, precision=precision, options=options)
            return stack.enter_context(closing(backend))

        yield apply
