# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What back ends read of their devices while they run."""

from pathlib import Path

import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.tensorrt.backend import TensorRtBackend

from ..machine_tree import ORIN, RK3588, S100, S600, X5, Files, machine, tree_with

AGX_RAILS = {"/sys/class/hwmon/hwmon1/in1_label": "VDD_GPU_SOC"}


@pytest.mark.parametrize(
    ("backend", "files", "expected"),
    [
        (
            RknnBackend,
            RK3588,
            {
                "npu_load_percent": "31",
                "npu_frequency_mhz": "1000",
                "npu_frequency_highest_mhz": "1000",
                "npu_governor": "performance",
                "npu_temperature_c": "52.1",
            },
        ),
        (
            TensorRtBackend,
            ORIN,
            {
                "gpu_load_percent": "42",
                "gpu_frequency_mhz": "1020",
                "gpu_frequency_highest_mhz": "1020",
                "gpu_governor": "nvhost_podgov",
                "gpu_temperature_c": "47.2",
                "power_w": "7.40",
            },
        ),
        (
            BpuBackend,
            S100,
            {
                "bpu_load_percent": "37",
                "bpu_frequency_mhz": "1000",
                "bpu_frequency_highest_mhz": "1000",
                "bpu_governor": "performance",
                "bpu_temperature_c": "53.3",
            },
        ),
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
