# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Origin and target of a plan, in a JSON file next to the plan.

TensorRT cannot tell whether a plan will load, and its file format is not documented. A plan for a
different version or GPU is therefore rejected based on this JSON file, before the runtime opens it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from policy_core.errors import BackendError

_RUNS_ONLY_ON = {
    "tensorrt": "TensorRT",
    "gpu": "GPU",
    "compute_capability": "compute capability",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Everything that a plan depends on.

    Attributes:
        model_sha256: Hash of the ONNX file.
        precision: fp32, fp16 or int8.
        tensorrt, cuda, driver: Versions.
        gpu, compute_capability: The GPU's name and compute capability.
        flags: Build settings.
    """

    model_sha256: str
    precision: str
    tensorrt: str
    gpu: str
    compute_capability: str
    cuda: str
    driver: str
    flags: str

    @property
    def key(self) -> str:
        """Base name of the plan's files: the hash of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSidecar:
    """The JSON file next to a plan.

    Attributes:
        fingerprint: Origin and target of the plan.
        plan_sha256: Hash of the plan.
        source: Path of the ONNX file, for information.
        seconds: Duration of the build.
    """

    fingerprint: Fingerprint
    plan_sha256: str
    source: str
    seconds: float

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def sidecar_path(plan: Path) -> Path:
    return plan.with_name(f"{plan.name}.json")


def read_sidecar(plan: Path) -> PlanSidecar:
    """Read the JSON file next to a plan.

    Raises:
        OSError: The file does not exist.
        ValueError: The content is not from this back end.
    """
    text = sidecar_path(plan).read_text("utf-8")
    try:
        content = json.loads(text)
        stated = content["fingerprint"]
        values = {field.name: str(stated[field.name]) for field in fields(Fingerprint)}
        return PlanSidecar(
            fingerprint=Fingerprint(**values),
            plan_sha256=str(content["plan_sha256"]),
            source=str(content["source"]),
            seconds=float(content["seconds"]),
        )
    except RecursionError as error:
        raise ValueError("lists nested without end") from error
    except (KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"{error} is missing or has a wrong type") from error


def require_fitting(plan: Path, content: bytes, precision: str, here: Mapping[str, str]) -> None:
    """Raise BackendError unless a plan shipped in a bundle was built for this machine.

    Args:
        plan: The plan, with its JSON file next to it.
        content: Content of the plan.
        precision: Precision stated in the contract.
        here: TensorRT version, GPU name and compute capability, by field.

    Raises:
        BackendError: The plan was built for a different TensorRT version or GPU, or the JSON file
            does not state them.
    """
    rebuild = (
        "compile it again on this machine from the ONNX file, or put the ONNX file into the bundle"
    )
    try:
        sidecar = read_sidecar(plan)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"{plan}: expected {sidecar_path(plan).name} beside it (which states what "
            f"the plan was built for), found: {error}; {rebuild}"
        ) from error
    if sidecar.plan_sha256 != hashlib.sha256(content).hexdigest():
        raise BackendError(
            f"{plan}: expected the plan that {sidecar_path(plan).name} describes, found different "
            f"content or a truncated file; copy both again, or {rebuild}"
        )
    wrong = [
        f"{meaning} {getattr(sidecar.fingerprint, name)} (here {here[name]})"
        for name, meaning in _RUNS_ONLY_ON.items()
        if getattr(sidecar.fingerprint, name) != here[name]
    ]
    if wrong:
        raise BackendError(
            f"{plan}: expected a plan for this machine, found one built "
            f"for {', '.join(wrong)}; {rebuild}"
        )
    if sidecar.fingerprint.precision != precision:
        raise BackendError(
            f"{plan}: expected {precision} as in policy.yaml, found "
            f"{sidecar.fingerprint.precision}; name the plan's own precision there"
        )


def read_model(file: Path) -> bytes:
    """Return the content of a model file.

    Raises:
        BackendError: The file cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise BackendError(f"{file}: expected a model, found {error.strerror}") from error
