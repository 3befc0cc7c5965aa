# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What back ends read of their devices while they run."""

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.machine.machine import number_in, parse_version
from policy_inference.machine.telemetry import UNKNOWN, Host, likely_causes, read_safely
from testkit.wording import check_wording

from ..machine_tree import ORIN, RK3588, S100, S600, X5, Files, machine, tree_with

POWER = {"power_w": "7.40"}
AGX_RAILS = {"/sys/class/hwmon/hwmon1/in1_label": "VDD_GPU_SOC"}


def told(device: str, load: str, mhz: str, governor: str, temperature: str) -> dict[str, str]:
    """Return what is told of a device at its highest clock."""
    return {
        f"{device}_load_percent": load,
        f"{device}_frequency_mhz": mhz,
        f"{device}_frequency_highest_mhz": mhz,
        f"{device}_governor": governor,
        f"{device}_temperature_c": temperature,
    }


@pytest.mark.parametrize(
    ("backend", "files", "expected"),
    [
        (RknnBackend, RK3588, told("npu", "31", "1000", "performance", "52.1")),
        (TensorRtBackend, ORIN, {**told("gpu", "42", "1020", "nvhost_podgov", "47.2"), **POWER}),
        (BpuBackend, S100, told("bpu", "37", "1000", "performance", "53.3")),
        (PyeasyBackend, X5, {"bpu_load_percent": "12", "bpu_temperature_c": "48.1"}),
        (BpuBackend, S600, {"bpu_temperature_c": "57.5"}),
    ],
    ids=["RK3588", "Orin", "S100", "X5", "S600"],
)
def test_board_tells_load_clock_temperature_and_power(
    backend: type[BackendBase], files: Files, expected: dict[str, str], tmp_path: Path
) -> None:
    assert backend.read_device(machine(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("backend", "files"), [(RknnBackend, RK3588), (TensorRtBackend, ORIN), (BpuBackend, S100)]
)
def test_without_the_device_or_numbers_of_it_nothing_is_told(
    backend: type[BackendBase], files: Files, tmp_path: Path
) -> None:
    kept = ("type", "label", "name", "model", "compatible")
    broken = {path: "" if not path.endswith(kept) else content for path, content in files.items()}
    assert backend.read_device(machine(tmp_path / "none", {"/proc/stat": "cpu"})) == {}
    assert backend.read_device(machine(tmp_path / "broken", broken)) == {}


def test_load_is_read_where_the_driver_has_it_under_proc(tmp_path: Path) -> None:
    files = tree_with(
        RK3588, {"/sys/kernel/debug/rknpu/load": None, "/proc/rknpu/load": "NPU load:  62%"}
    )
    assert RknnBackend.read_device(machine(tmp_path, files))["npu_load_percent"] == "62"


def test_power_is_the_sum_of_the_rails_where_a_module_measures_no_total(tmp_path: Path) -> None:
    found = TensorRtBackend.read_device(machine(tmp_path, tree_with(ORIN, AGX_RAILS)))
    assert found["power_w"] == "9.40"


def test_load_and_heat_are_named() -> None:
    hot = {"cpu_load_percent": "97", "gpu_temperature_c": "91.5"}
    text = likely_causes({**hot, "npu_load_percent": "40", "npu_temperature_c": "60.0"})
    check_wording(text)
    assert "NPU" not in text


def test_a_thread_that_is_preempted_often_is_named() -> None:
    assert not likely_causes({"service_preemptions": "20"}).startswith(UNKNOWN)
    assert likely_causes({"service_preemptions": "19"}).startswith(UNKNOWN)


def test_device_that_tells_nothing_bad_gets_the_usual_causes() -> None:
    clock = {"npu_frequency_mhz": "1000", "npu_frequency_highest_mhz": "1000"}
    healthy = {**clock, "cpu_load_percent": "20"}
    for telemetry in ({}, healthy, {"npu_load_percent": "unknown"}):
        assert likely_causes(telemetry).startswith(UNKNOWN)
    check_wording(likely_causes({}))


ODD = ["", "²", "5²", "1.2.3", "nan", "inf", "9" * 4400, "busy", "0x10"]


@pytest.mark.parametrize("text", ODD)
def test_text_that_is_no_number_is_none(text: str) -> None:
    assert number_in(text) is None
    assert "85" not in likely_causes({"npu_temperature_c": text})


@pytest.mark.parametrize(
    ("text", "version"), [("rknn-toolkit2 2.5.0", (2, 5, 0)), ("none", ()), ("9" * 4400 + ".1", ())]
)
def test_version_is_of_numbers_that_a_version_has(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


LOAD = {"npu_load_percent": "31"}


@pytest.mark.parametrize("odd", [{"a": 31}, {7: "x"}, {"a": "\ud800"}])
def test_what_is_no_text_is_left_out_and_named(odd: dict[Any, Any]) -> None:
    values, wrong = read_safely(lambda: LOAD | odd)
    ((key, value),) = odd.items()
    assert values == LOAD
    assert f"{key!r}: {value!r}" in wrong


def test_what_is_no_mapping_is_reported() -> None:
    values, wrong = read_safely(lambda: None)  # type: ignore[arg-type, return-value]
    assert values == {}
    assert "Error: " in wrong


def test_what_is_raised_is_reported_even_an_exit() -> None:
    assert read_safely(lambda: sys.exit("gone")) == ({}, "SystemExit: gone")


FILES = {
    "/proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1",
    "/proc/meminfo": "MemTotal:  8192000 kB\nMemFree: 1000 kB\nMemAvailable: 2097152 kB\n"
    "Buffers: 1 kB\nCached: 1 kB\nShmem: 1 kB\nActive: 1 kB\nInactive: 1 kB",
    "/sys/class/thermal/thermal_zone0/type": "CPU-therm",
    "/sys/class/thermal/thermal_zone0/temp": "45500",
}


def test_load_is_that_since_the_last_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_machine = machine(tmp_path, FILES)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    host = Host(host_machine)
    assert "cpu_load_percent" not in host.read()
    # 40 ticks more, 10 of them idle or waiting for a disk.
    machine(tmp_path, {"/proc/stat": "cpu  130 0 100 705 105 0 0 0 20 0"})
    assert host.read() == {
        "cpu_load_percent": "75",
        "memory_available_mib": "2048",
        "cpu_temperature_c": "45.5",
    }
    assert "cpu_load_percent" not in host.read()
