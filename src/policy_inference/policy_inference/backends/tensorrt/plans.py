# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan for a model file: the file itself, a plan from the cache, or a new build."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.tensorrt.build import PRECISIONS, build_plan
from policy_inference.backends.tensorrt.cache import PlanCache, cache_folder
from policy_inference.backends.tensorrt.device import Device
from policy_inference.backends.tensorrt.library import TensorRtLog
from policy_inference.backends.tensorrt.sidecar import Fingerprint, read_model, require_fitting

_log = logging.getLogger("policy_inference")
PLAN_SUFFIXES = (".plan", ".engine")
FROM_CACHE = "from the cache"
OPTIONS: Mapping[str, str] = {
    "build": "yes or no (default): whether an engine that is not in the cache may be built when "
    "the model is opened, which takes from seconds to minutes",
    "workspace_mib": "memory that layers may use while they run, MiB; TensorRT's own limit if "
    "absent",
    "cuda_graph": "yes, no or auto (default): whether a run is one captured CUDA graph; auto runs "
    "without one if it cannot be captured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Validated values of the back end's OPTIONS."""

    build: bool
    workspace_mib: int | None
    cuda_graph: str

    @classmethod
    def read(cls, given: Mapping[str, str]) -> EngineOptions:
        """Parse the values, which are strings.

        Raises:
            BackendError: A value is invalid for its option.
        """
        workspace = given.get("workspace_mib")
        if workspace is not None and not (
            workspace.isascii() and workspace.isdigit() and 0 < int(workspace) < 1 << 40
        ):
            raise BackendError(
                "tensorrt: option workspace_mib: expected a whole number of MiB "
                f"above 0, found {workspace!r}"
            )
        return cls(
            build=_choice(given, "build", ("no", "yes")) == "yes",
            workspace_mib=None if workspace is None else int(workspace),
            cuda_graph=_choice(given, "cuda_graph", ("auto", "yes", "no")),
        )


def find_plan(
    trt: Any,
    trt_log: TensorRtLog,
    device: Device,
    options: EngineOptions,
    file: Path,
    *,
    content: Path,
    precision: str,
    inputs: Sequence[TensorSpec],
) -> tuple[bytes, str]:
    """Return the plan for a model file, and a description of its origin.

    Args:
        trt: The `tensorrt` module.
        trt_log: Logger for TensorRT.
        device: The GPU.
        options: Build options.
        file: The model file, as named in messages.
        content: The model file or a copy of it.
        precision: Precision stated in the contract.
        inputs: Inputs specified in the contract.

    Raises:
        BackendError: There is no plan and building is not allowed, the plan is for a different
            machine, the file is not a model, or the precision is not supported.
    """
    here = {
        "tensorrt": str(trt.__version__),
        "gpu": device.gpu,
        "compute_capability": device.compute_capability,
    }
    if precision not in PRECISIONS:
        raise BackendError(
            f"{file}: expected one of the precisions {', '.join(PRECISIONS)}, "
            f"found {precision!r} in policy.yaml"
        )
    if file.suffix in PLAN_SUFFIXES:
        plan = read_model(content)
        require_fitting(file, plan, precision, here)
        return plan, "the bundle's own plan"
    if file.suffix != ".onnx":
        raise BackendError(
            f"{file}: expected a file that ends with .onnx, "
            f"{' or '.join(PLAN_SUFFIXES)}, found {file.suffix!r}"
        )
    model, limit = read_model(content), options.workspace_mib
    sizes = ", ".join(map(str, sorted(inputs, key=lambda spec: spec.name)))
    made = Fingerprint(
        **here,
        model_sha256=hashlib.sha256(model).hexdigest(),
        precision=precision,
        cuda=device.cuda,
        driver=device.driver,
        flags=f"workspace {'unlimited' if limit is None else f'{limit} MiB'}; {sizes}",
    )
    cache = PlanCache(cache_folder())
    if found := cache.find(made):
        return found, FROM_CACHE
    if not options.build:
        raise BackendError(
            f"{file}: expected an engine for {made.gpu} with TensorRT {made.tensorrt} in "
            f"{cache.folder}, found none; allow the build, which takes from a few seconds to a few "
            "minutes, with the option tensorrt.build=yes"
        )
    with cache.alone(made):
        if found := cache.find(made):
            return found, FROM_CACHE
        _log.info(
            "%s: building a %s engine for %s with TensorRT %s",
            file,
            precision,
            made.gpu,
            made.tensorrt,
        )
        began = time.monotonic()
        plan = build_plan(trt, trt_log, file, model, precision, inputs, limit)
        seconds = time.monotonic() - began
        cache.store(made, plan, file, seconds)
    _log.info("%s: engine built in %.1f s, stored in %s", file, seconds, cache.folder)
    return plan, f"built in {seconds:.1f} s"


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return an option's value, which must be one of `choices`; the first is the default."""
    value = given.get(name, choices[0])
    if value not in choices:
        raise BackendError(
            f"tensorrt: option {name}: expected {', '.join(choices[:-1])} or "
            f"{choices[-1]}, found {value!r}"
        )
    return value
