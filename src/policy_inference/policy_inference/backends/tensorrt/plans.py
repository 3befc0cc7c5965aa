# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan for a model file: its own, one from the cache, or one that is built now."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.tensorrt.build import PRECISIONS, Build, BuildOrder
from policy_inference.backends.tensorrt.cache import PlanCache
from policy_inference.backends.tensorrt.device import Device
from policy_inference.backends.tensorrt.library import TensorRtLog
from policy_inference.backends.tensorrt.sidecar import Fingerprint, read_model, require_fitting

_log = logging.getLogger("policy_inference")
PLAN_SUFFIXES = (".plan", ".engine")
OPTIONS: Mapping[str, str] = {
    "build": "yes or no (default): whether an engine that is not in the cache may be built when "
    "the model is opened, which takes from seconds to minutes",
    "workspace_mib": "memory that layers may use while they run, MiB; TensorRT's own limit if "
    "absent",
    "cuda_graph": "yes, no or auto (default): whether a run is one recorded CUDA graph; auto runs "
    "without where it cannot be recorded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The values of OPTIONS, checked."""

    build: bool
    workspace_mib: int | None
    cuda_graph: str

    @classmethod
    def read(cls, given: Mapping[str, str]) -> EngineOptions:
        """Read the values, each a text.

        Raises:
            BackendError: A value is none that its option can have.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSource:
    """A model file, with precision and inputs of the contract; `content` is the file or a copy."""

    file: Path
    content: Path
    precision: str
    inputs: Sequence[TensorSpec]


class Plans:
    """Where plans come from on this machine."""

    def __init__(
        self,
        trt: Any,
        trt_log: TensorRtLog,
        device: Device,
        options: EngineOptions,
        cache: PlanCache,
    ) -> None:
        """Take what a plan depends on."""
        self._trt, self._trt_log, self._device = trt, trt_log, device
        self._options, self._cache = options, cache

    def of(self, model: PlanSource) -> tuple[bytes, str]:
        """Return the plan, and in words where it comes from.

        Raises:
            BackendError: There is none and it may not be built, or is for another machine; or the
                file is no model, or not in a precision that there is.
        """
        if model.precision not in PRECISIONS:
            raise BackendError(
                f"{model.file}: expected a precision among {', '.join(PRECISIONS)}, "
                f"found {model.precision!r} in policy.yaml"
            )
        if model.file.suffix in PLAN_SUFFIXES:
            plan = read_model(model.content)
            require_fitting(model.file, plan, model.precision, self._here())
            return plan, "the bundle's own plan"
        if model.file.suffix != ".onnx":
            raise BackendError(
                f"{model.file}: expected a file that ends with .onnx, "
                f"{' or '.join(PLAN_SUFFIXES)}, found {model.file.suffix!r}"
            )
        content = read_model(model.content)
        fingerprint = self._fingerprint(model, content)
        return self._cached(fingerprint) or self._built(model, content, fingerprint)

    def _cached(self, fingerprint: Fingerprint) -> tuple[bytes, str] | None:
        found = self._cache.find(fingerprint)
        return found and (found[0], "from the cache")

    def _built(self, model: PlanSource, content: bytes, made: Fingerprint) -> tuple[bytes, str]:
        why = self._cache.why_missing(made, model.file)
        if not self._options.build:
            raise BackendError(
                f"{model.file}: expected an engine for {made.gpu} with TensorRT {made.tensorrt} in "
                f"{self._cache.folder}, found none ({why}); allow it to be built, which takes from "
                "seconds to minutes, with the option tensorrt.build=yes"
            )
        with self._cache.alone(made):
            if found := self._cached(made):
                return found
            _log.info(
                "%s: building a %s engine for %s with TensorRT %s (%s)",
                model.file,
                made.precision,
                made.gpu,
                made.tensorrt,
                why,
            )
            began = time.monotonic()
            plan = self._build(model, content)
            seconds = time.monotonic() - began
            self._cache.store(made, plan, model.file, seconds)
        _log.info("%s: engine built in %.1f s, kept in %s", model.file, seconds, self._cache.folder)
        return plan, f"built in {seconds:.1f} s"

    def _build(self, model: PlanSource, content: bytes) -> bytes:
        timings = self._timings()
        build = Build(
            self._trt,
            self._trt_log,
            BuildOrder(
                file=model.file,
                model=content,
                precision=model.precision,
                inputs={spec.name: spec for spec in model.inputs},
                workspace_mib=self._options.workspace_mib,
            ),
        )
        plan, measured = build.run(self._cache.read(timings))
        self._cache.write(timings, measured)
        return plan

    def _timings(self) -> Path:
        here = re.sub(r"\W+", "-", "-".join(self._here().values()))
        return self._cache.folder / f"timings-{here}.cache"

    def _here(self) -> dict[str, str]:
        return {
            "tensorrt": str(self._trt.__version__),
            "gpu": self._device.gpu,
            "compute_capability": self._device.compute_capability,
        }

    def _fingerprint(self, model: PlanSource, content: bytes) -> Fingerprint:
        limit = self._options.workspace_mib
        sizes = ", ".join(map(str, sorted(model.inputs, key=lambda spec: spec.name)))
        return Fingerprint(
            **self._here(),
            model_sha256=hashlib.sha256(content).hexdigest(),
            precision=model.precision,
            cuda=self._device.cuda,
            driver=self._device.driver,
            flags=f"workspace {'unlimited' if limit is None else f'{limit} MiB'}; {sizes}",
        )


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return a value among `choices`, the first of which is the default."""
    value = given.get(name, choices[0])
    if value not in choices:
        raise BackendError(
            f"tensorrt: option {name}: expected {', '.join(choices[:-1])} or "
            f"{choices[-1]}, found {value!r}"
        )
    return value
