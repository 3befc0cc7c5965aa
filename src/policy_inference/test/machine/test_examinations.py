# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an examination finds on boards: healthy ones, and one fault at a time."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from policy_core.bundle.contract import Artifact
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.backends.tensorrt.sidecar import Fingerprint, PlanSidecar
from policy_inference.machine.machine import Finding, Machine, Severity
from testkit.wording import check_wording

from ..machine_tree import (
    LIBRARY,
    ORIN,
    RK3588,
    S100,
    Files,
    Locked,
    machine,
    tree_with,
    write_package,
)

SHA = "0" * 64
RKNN = Artifact(
    file="policy.rknn", sha256=SHA, precision="fp16", target="rk3588", tool="rknn-toolkit2 2.5.0"
)
ONNX = Artifact(file="policy.onnx", sha256=SHA, precision="fp16")
HBM = Artifact(file="policy.hbm", sha256=SHA, precision="int8", target="nash-e")
Packages = Sequence[tuple[str, str, str]]
RK_PACKAGES: Packages = [("rknnlite", "rknn-toolkit-lite2", "2.5.0")]
ORIN_PACKAGES: Packages = [("tensorrt", "tensorrt", "10.3.0"), ("cuda", "cuda-python", "12.6.0")]
S100_PACKAGES: Packages = [("hbm_runtime", "hbm_runtime", "0.1.0")]
VENDORS = ("cuda", "hbm_runtime", "hobot_dnn", "hobot_dnn_rdkx5", "pycuda", "rknnlite", "tensorrt")
Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Let a back end examine a board with packages; return the findings by name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def apply(
        backend: type[BackendBase],
        files: Files,
        packages: Packages = (),
        artifact: Artifact | None = None,
        kind: type[Machine] = Machine,
    ) -> dict[str, Finding]:
        for module, distribution, version in packages:
            write_package(tmp_path / "site", module, distribution, version)
        # Alone, since the machine of this test may have the real ones.
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
        for module in VENDORS:
            monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        found = backend.examine(machine(tmp_path / "board", files, kind), artifact)
        assert len({finding.name for finding in found}) == len(found)
        return {finding.name: finding for finding in found}

    return apply


BOARDS: Mapping[str, tuple[type[BackendBase], Files, Packages, Artifact | None]] = {
    "RK3588": (RknnBackend, RK3588, RK_PACKAGES, RKNN),
    "Orin": (TensorRtBackend, ORIN, ORIN_PACKAGES, None),
    "S100": (BpuBackend, S100, S100_PACKAGES, HBM),
}
"""The back end, the board, its packages, the model."""


@pytest.mark.parametrize("board", BOARDS)
def test_healthy_board_has_nothing_to_be_done(board: str, examine: Examine) -> None:
    found = examine(*BOARDS[board])
    assert [finding for finding in found.values() if finding.severity is not Severity.OK] == []
    assert not any(finding.remedy for finding in found.values())


ERROR, WARNING = Severity.ERROR, Severity.WARNING
CHIP, LIB = "/proc/device-tree/compatible", "/usr/lib/librknnrt.so"
NPU_HIGH = "/sys/class/devfreq/fdab0000.npu/max_freq"
GPU_LOW = "/sys/class/devfreq/17000000.gpu/min_freq"
NO_DRIVER = dict.fromkeys(path for path in RK3588 if "rknpu" in path or "devfreq" in path)
OTHER_CUDA = [ORIN_PACKAGES[0], ("cuda", "cuda-python", "13.0.1")]
S100P = {**dict.fromkeys(S100), "/proc/device-tree/model": "D-Robotics RDK S100P V1P0\0"}
# The board, files that differ, other packages or model, the finding, its severity.
FAULTS: Mapping[str, tuple[str, Mapping[str, str | bytes | None], Any, str, Severity]] = {
    "another chip": ("RK3588", {CHIP: "x,y\0rockchip,rk3576\0"}, None, "board", ERROR),
    "no driver": ("RK3588", NO_DRIVER, None, "rknpu driver", ERROR),
    "no device file": ("RK3588", {"/dev/dri/renderD129": None}, None, "device file", ERROR),
    "a web page": ("RK3588", {LIB: "<!DOCTYPE html>"}, None, "librknnrt.so", ERROR),
    "an old library": ("RK3588", {LIB: LIBRARY % b"2.3.2"}, None, "librknnrt.so", ERROR),
    "a clock that is held down": ("RK3588", {NPU_HIGH: "600000000"}, None, "NPU clock", WARNING),
    "no package: rknn-toolkit-lite2": ("RK3588", {}, [], "rknn-toolkit-lite2", ERROR),
    "no package: tensorrt": ("Orin", {}, [], "tensorrt", ERROR),
    "no package: runtime": ("S100", {}, [], "runtime", ERROR),
    "a clock that follows the load": ("Orin", {GPU_LOW: "306000000"}, None, "GPU clock", WARNING),
    "CUDA of another JetPack": ("Orin", {}, OTHER_CUDA, "CUDA Python", WARNING),
    "no GPU": ("Orin", {**dict.fromkeys(ORIN), "/.dockerenv": ""}, None, "GPU", ERROR),
    "no BPU driver": ("S100", S100P, None, "BPU driver", ERROR),
    "model for another BPU": ("S100", {}, replace(HBM, target="nash-m"), "model", ERROR),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_board_is_named_with_its_remedy(fault: str, examine: Examine) -> None:
    board, changes, other, name, severity = FAULTS[fault]
    backend, files, packages, artifact = BOARDS[board]
    if isinstance(other, Artifact):
        artifact = other
    elif other is not None:
        packages = other
    finding = examine(backend, tree_with(files, changes), packages, artifact)[name]
    assert finding.severity is severity
    check_wording(finding.found, finding.remedy)


DEVICES = {"RK3588": "device file", "Orin": "GPU", "S100": "BPU driver"}


@pytest.mark.parametrize("board", BOARDS)
def test_device_file_that_may_not_be_opened_is_an_error(board: str, examine: Examine) -> None:
    # No model: all else is examined as well.
    finding = examine(*BOARDS[board][:3], kind=Locked)[DEVICES[board]]
    assert finding.severity is Severity.ERROR
    check_wording(finding.found)


@pytest.mark.parametrize(
    ("built_with", "severity"),
    [(None, Severity.WARNING), ("10.3.0", Severity.OK), ("8.6.2", Severity.WARNING)],
)
def test_engine_is_in_the_cache_or_has_to_be_built(
    built_with: str | None, severity: Severity, tmp_path: Path, examine: Examine
) -> None:
    if built_with:
        fingerprint = Fingerprint(
            model_sha256=SHA,
            precision="fp16",
            tensorrt=built_with,
            gpu="Orin",
            compute_capability="8.7",
            cuda="12.6",
            driver="12.6",
            flags="",
        )
        told = PlanSidecar(fingerprint=fingerprint, plan_sha256=SHA, source="a", seconds=1.0)
        folder = tmp_path / "cache/policy_inference/tensorrt"
        folder.mkdir(parents=True)
        (folder / "a.plan").touch()
        (folder / "a.plan.json").write_text(json.dumps(asdict(told)))
    finding = examine(TensorRtBackend, ORIN, ORIN_PACKAGES, ONNX)["engine"]
    assert finding.severity is severity
    check_wording(finding.found)
    assert ("tensorrt.build=yes" in finding.remedy) == (severity is Severity.WARNING)


@pytest.mark.parametrize(
    ("says", "severity", "found"),
    [("echo 2.5.0", Severity.OK, "2.5.0 ("), ("exit 1", Severity.ERROR, "not in ")],
)
def test_toolkit_is_asked_for_in_its_own_python(
    says: str, severity: Severity, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n", "utf-8")
    python.chmod(0o755)
    monkeypatch.setenv("RKNN_TOOLKIT_PYTHON", str(python))
    (finding,) = RknnSimBackend.examine(Machine(tmp_path), None)
    assert finding.severity is severity
    assert finding.found.startswith(found)
