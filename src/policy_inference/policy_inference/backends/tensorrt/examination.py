# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that this machine can run engines on its GPU, and read the GPU's load; opens no device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from policy_core.bundle.contract import Artifact
from policy_inference.backends.tensorrt.cache import PlanCache, cache_folder
from policy_inference.backends.tensorrt.device import INSTALL as INSTALL_CUDA
from policy_inference.backends.tensorrt.library import INSTALL as INSTALL_TENSORRT
from policy_inference.backends.tensorrt.plans import PLAN_SUFFIXES
from policy_inference.machine.clocks import (
    DeviceClock,
    clock_finding,
    clock_values,
    device_clock,
)
from policy_inference.machine.machine import (
    Finding,
    Machine,
    installed_version,
    module_found,
    parse_version,
)
from policy_inference.machine.system import in_container
from policy_inference.machine.telemetry import temperature_values

# A graphics card, a Jetson's GPU by its older and its newer driver, Windows' GPU under WSL 2.
_DEVICES = ("/dev/nvidia[0-9]*", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0/*", "/dev/dxg")
_TENSORRT = ("tensorrt", "tensorrt_cu13_bindings", "tensorrt_cu12_bindings")
_CUDA = ("cuda-python", "cuda-bindings")
# Major versions of JetPack and of its CUDA, by Jetson Linux release.
_JETPACKS = {36: (6, 12), 38: (7, 13)}
_OLDEST = (8, 6)


def examine_gpu(machine: Machine, artifact: Artifact | None) -> Iterator[Finding]:
    """Yield the findings, with required parts first."""
    release = machine.text("/etc/nv_tegra_release") or ""
    yield _device(machine, release)
    if release:
        yield from _jetson(machine, release)
    yield _tensorrt()
    yield _cuda(release)
    if artifact is not None:
        yield _engine(artifact)


def _device(machine: Machine, release: str) -> Finding:
    nodes = [node for pattern in _DEVICES for node in machine.glob(pattern)]
    if not nodes:
        remedy = (
            "start the container with the NVIDIA runtime (docker run --runtime nvidia, or "
            "--gpus all)"
            if in_container(machine)
            else "a Jetson's own system"
            if release
            else "install NVIDIA's driver"
        )
        return Finding.error("GPU", "no device file for an NVIDIA GPU", remedy)
    node = nodes[0]
    shown = f"/{node.relative_to(machine.root)}"
    if not machine.may_use(node):
        return Finding.error(
            "GPU",
            f"{shown}, which this user may not open",
            "sudo usermod -aG video,render $USER, and log in again",
        )
    text = machine.text("/proc/driver/nvidia/version") or ""
    version = re.search(r"Kernel Module\D*? (\d[\d.]*)", text)
    return Finding(name="GPU", found=shown + (f", driver {version[1]}" if version else ""))


def _jetson(machine: Machine, release: str) -> Iterator[Finding]:
    numbers = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", release)
    if numbers:
        jetpack = _jetpack(release)
        known = f" (JetPack {jetpack[0]})" if jetpack else ""
        yield Finding(name="Jetson Linux", found=f"{numbers[1]}.{numbers[2]}{known}")
    if mode := _power_mode(machine):
        yield Finding(name="power mode", found=f"{mode}; `sudo nvpmodel -q` shows its limits")
    yield from clock_finding("GPU", gpu_clock(machine), "sudo jetson_clocks")


def _jetpack(release: str) -> tuple[int, int] | None:
    number = re.match(r"# R([0-9]{1,3})\b", release)
    return _JETPACKS.get(int(number[1])) if number else None


def _power_mode(machine: Machine) -> str:
    """Return the number and name of the power mode, which nvpmodel stores as "pmode:0002"."""
    mode = re.search(r"pmode:0*(\d+)", machine.text("/var/lib/nvpmodel/status") or "")
    if not mode:
        return ""
    name = re.search(
        rf"POWER_MODEL\s+ID={mode[1]}\s+NAME=(\S+)", machine.text("/etc/nvpmodel.conf") or ""
    )
    return f"{mode[1]} ({name[1]})" if name else mode[1]


def _tensorrt() -> Finding:
    if not module_found("tensorrt"):
        return Finding.error("tensorrt", "not installed in this Python", INSTALL_TENSORRT)
    version = installed_version(*_TENSORRT)
    if version and parse_version(version) < _OLDEST:
        return Finding.error("tensorrt", version, "TensorRT 8.6 or newer: update JetPack")
    return Finding(name="tensorrt", found=version or "present, without a version")


def _cuda(release: str) -> Finding:
    """Check that cuda-python is installed and matches the system's CUDA."""
    if not module_found("cuda"):
        return Finding.error("CUDA Python", "no cuda-python", INSTALL_CUDA)
    version, jetpack = installed_version(*_CUDA) or "", _jetpack(release)
    numbers = parse_version(f"{version}.0")  # "12" alone is also a version
    if numbers and jetpack and numbers[0] != jetpack[1]:
        return Finding.warning(
            "CUDA Python",
            f"cuda-python {version}, but JetPack {jetpack[0]} has CUDA {jetpack[1]}",
            INSTALL_CUDA,
        )
    return Finding(name="CUDA Python", found=f"cuda-python {version}")


def _engine(artifact: Artifact) -> Finding:
    """Return a finding on whether opening the model requires building an engine."""
    if Path(artifact.file).suffix in PLAN_SUFFIXES:
        gpu = artifact.target or "the GPU that it was built on"
        return Finding(name="engine", found=f"the bundle's own plan, only for {gpu}")
    folder, here = cache_folder(), installed_version(*_TENSORRT)
    built = PlanCache(folder).of_model(artifact.sha256, artifact.precision)
    listed = ", ".join(f"TensorRT {plan.tensorrt} on {plan.gpu}" for plan in built)
    if any(here in (None, plan.tensorrt) for plan in built):
        return Finding(name="engine", found=f"{artifact.precision}, in the cache: {listed}")
    found = f"built only for {listed}" if built else f"none in {folder} for {artifact.precision}"
    return Finding.warning(
        "engine",
        found,
        "have it built when the model is opened, which takes from a few seconds to a few minutes: "
        "option tensorrt.build=yes",
    )


# JetPack 5 names the device after the GPU, later ones call it gpu: 17000000.ga10b, 17000000.gpu;
# gpu-gpc-0 on Thor.
_GPUS = ("*.gv11b", "*.gp10b", "*.ga10b", "*.gb10b", "*.gpu", "gpu-gpc-0")
_TOTAL = "VDD_IN"
"""Name of the rail that supplies the whole module, on modules that measure it."""


def read_gpu(machine: Machine) -> Mapping[str, str]:
    """Return the load, clock and temperature of a Jetson's GPU, and the module's power.

    The values come from the files that tegrastats reads (checked against
    github.com/rbonghi/jetson_stats). Graphics card drivers have no such files, so on a PC the
    result is empty.
    """
    return {
        **_load(machine),
        **clock_values("gpu", gpu_clock(machine)),
        **temperature_values(machine, "gpu", "gpu"),
        **_power(machine),
    }


def clock_folder(machine: Machine) -> Path | None:
    """Return the GPU's clock folder."""
    return next(
        (folder for name in _GPUS for folder in machine.glob(f"/sys/class/devfreq/{name}")), None
    )


def gpu_clock(machine: Machine) -> DeviceClock | None:
    return device_clock(machine, clock_folder(machine))


def _load(machine: Machine) -> dict[str, str]:
    folder = clock_folder(machine)
    load = machine.number(folder / "device/load") if folder else None  # in tenths of a percent
    return {} if load is None else {"gpu_load_percent": f"{load / 10:.0f}"}


def _power(machine: Machine) -> dict[str, str]:
    """Return the module's power in W, or the sum over its rails if no total is measured.

    Units (mV and mA): Linux, Documentation/hwmon/ina3221.rst.
    """
    watts = {}
    for label in machine.glob("/sys/class/hwmon/hwmon*/in[1-3]_label"):
        place = label.name[2]
        rail = machine.text(label) or ""
        if rail in ("", "NC") or machine.text(label.with_name("name")) != "ina3221":
            continue
        millivolts = machine.number(label.with_name(f"in{place}_input"))
        milliamperes = machine.number(label.with_name(f"curr{place}_input"))
        if millivolts is not None and milliamperes is not None:
            watts[rail] = millivolts * milliamperes * 1e-6
    total = watts.get(_TOTAL, sum(watts.values()))
    return {"power_w": f"{total:.2f}"} if watts else {}
