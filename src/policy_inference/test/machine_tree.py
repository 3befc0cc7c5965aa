# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Machines as trees of files: boards as their kernels describe themselves."""

from collections.abc import Mapping
from pathlib import Path

from policy_inference.machine.machine import Machine

Files = Mapping[str, str | bytes]
LIBRARY = b"\x7fELF\x02\x01\x01 ... librknnrt version: %s (429f97ae6b@2025-04-09T09:09:27) ..."

RK3588: Files = {
    "/proc/device-tree/model": "Radxa ROCK 5B\0",
    "/proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
    "/sys/module/rknpu/version": "0.9.8",
    "/sys/kernel/debug/rknpu/load": "NPU load:  Core0: 31%, Core1:  0%, Core2:  7%,",
    "/dev/dri/renderD129": "",
    "/usr/lib/librknnrt.so": LIBRARY % b"2.5.0",
    "/sys/class/devfreq/fdab0000.npu/cur_freq": "1000000000",
    "/sys/class/devfreq/fdab0000.npu/min_freq": "300000000",
    "/sys/class/devfreq/fdab0000.npu/max_freq": "1000000000",
    "/sys/class/devfreq/fdab0000.npu/available_frequencies": "300000000 600000000 1000000000",
    "/sys/class/devfreq/fdab0000.npu/governor": "performance",
    "/sys/class/thermal/thermal_zone0/type": "soc-thermal",
    "/sys/class/thermal/thermal_zone0/temp": "44384",
    "/sys/class/thermal/thermal_zone6/type": "npu-thermal",
    "/sys/class/thermal/thermal_zone6/temp": "52100",
}
ORIN: Files = {
    "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic",
    "/var/lib/nvpmodel/status": "pmode:0002",
    "/etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
    "/dev/nvgpu/igpu0/ctrl": "",
    "/sys/class/devfreq/17000000.gpu/cur_freq": "1020000000",
    "/sys/class/devfreq/17000000.gpu/min_freq": "1020000000",
    "/sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
    "/sys/class/devfreq/17000000.gpu/available_frequencies": "306000000 1020000000",
    "/sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov",
    "/sys/class/devfreq/17000000.gpu/device/load": "423",
    "/sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "/sys/class/thermal/thermal_zone1/temp": "47250",
    "/sys/class/hwmon/hwmon1/name": "ina3221",
    "/sys/class/hwmon/hwmon1/in1_label": "VDD_IN",
    "/sys/class/hwmon/hwmon1/in1_input": "5000",
    "/sys/class/hwmon/hwmon1/curr1_input": "1480",
    "/sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "/sys/class/hwmon/hwmon1/in2_input": "5000",
    "/sys/class/hwmon/hwmon1/curr2_input": "400",
    "/sys/class/hwmon/hwmon0/name": "other",
    "/sys/class/hwmon/hwmon0/in1_label": "VDD_OTHER",
    "/sys/class/hwmon/hwmon0/in1_input": "9000",
    "/sys/class/hwmon/hwmon0/curr1_input": "9000",
}
S100: Files = {
    "/proc/device-tree/model": "D-Robotics RDK S100 V1P0\0",
    "/dev/bpu": "",
    "/dev/bpu_core0": "",
    "/sys/devices/system/bpu/bpu0/ratio": "37",
    "/sys/devices/system/bpu/bpu0/devfreq/28108000.bpu/cur_freq": "1000000000",
    "/sys/devices/system/bpu/bpu0/devfreq/28108000.bpu/min_freq": "500000000",
    "/sys/devices/system/bpu/bpu0/devfreq/28108000.bpu/max_freq": "1000000000",
    "/sys/devices/system/bpu/bpu0/devfreq/28108000.bpu/governor": "performance",
    "/sys/class/thermal/thermal_zone0/type": "pvt_cmn_pvtc1_t1",
    "/sys/class/thermal/thermal_zone0/temp": "52719",
    "/sys/class/thermal/thermal_zone4/type": "pvt_bpu_pvtc1_t1",
    "/sys/class/thermal/thermal_zone4/temp": "53271",
}
X5: Files = {
    "/proc/device-tree/model": "D-Robotics RDK X5 V1.0\0",
    "/sys/devices/system/bpu/bpu0/ratio": "12",
    "/sys/class/hwmon/hwmon0/temp1_input": "46643",
    "/sys/class/hwmon/hwmon0/temp2_input": "48100",
}
S600: Files = {
    "/proc/device-tree/model": "D-Robotics RDK S600 V1P0\0",
    "/sys/class/hwmon/hwmon1/temp1_label": "CMN0-TS0",
    "/sys/class/hwmon/hwmon1/temp1_input": "91000",
    "/sys/class/hwmon/hwmon1/temp12_label": "BPU0-TS00",
    "/sys/class/hwmon/hwmon1/temp12_input": "56339",
    "/sys/class/hwmon/hwmon1/temp13_label": "BPU0-TS01",
    "/sys/class/hwmon/hwmon1/temp13_input": "57500",
}


class Locked(Machine):
    def may_use(self, file: Path) -> bool:
        return False


def tree_with(files: Files, changes: Mapping[str, str | bytes | None]) -> Files:
    """Return files of which some have another content, or with None are missing."""
    merged = {**files, **changes}
    return {path: content for path, content in merged.items() if content is not None}


def machine(root: Path, files: Files, kind: type[Machine] = Machine) -> Machine:
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return kind(root)


def write_package(folder: Path, module: str, distribution: str, version: str) -> Path:
    """Write an installed package without content; its folder belongs on sys.path."""
    (folder / module).mkdir(parents=True, exist_ok=True)
    (folder / module / "__init__.py").write_text("raise ImportError('looking imports nothing')\n")
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    return folder
