# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that this board can run models on its NPU, and read the NPU's load; opens no device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from policy_core.bundle.contract import Artifact
from policy_inference.backends.rknn.failures import MOUNTS, board_chips
from policy_inference.backends.rknn_file import chip
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

LIBRARY, RENDER_NODE = "librknnrt.so", "renderD129"
PACKAGE = "rknn-toolkit-lite2"
_COMPATIBLE = "/proc/device-tree/compatible"
# The runtime recommends drivers newer than this: airockchip/rknn-toolkit2#16.
_OLDEST_DRIVER = (0, 8, 8)
# /usr/lib, where the package looks first, and where the dynamic linker looks.
_LIBRARY_PLACES = (
    "/usr/lib",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib/aarch64-linux-gnu",
    "/lib64",
)
_ELF = b"\x7fELF"


def examine_npu(machine: Machine, artifact: Artifact | None) -> Iterator[Finding]:
    """Yield the findings, with required parts first."""
    chips = board_chips(machine.path(_COMPATIBLE))
    if not chips:
        remedy = "run it on the board; on a PC use rknn_sim"
        if in_container(machine):  # no device tree there by default
            remedy = f"on a PC use rknn_sim; for a container on the board: {MOUNTS}"
        yield Finding.error("board", "no Rockchip chip in the device tree", remedy)
        return
    yield _board(chips, artifact)
    yield _driver(machine)
    yield _render_node(machine)
    library = _library(machine)
    yield _library_finding(machine, library, artifact)
    yield _package(_content(library))
    folder = clock_folder(machine)
    yield from clock_finding(
        "NPU", npu_clock(machine), f"echo performance | sudo tee {folder}/governor"
    )
    if not driver_text(machine, "load"):
        yield Finding(
            name="NPU load",
            found="only root may read it; for other users, the status lacks npu_load_percent",
        )


def _board(chips: tuple[str, ...], artifact: Artifact | None) -> Finding:
    wanted = artifact.target if artifact else None
    if wanted and chip(wanted) not in map(chip, chips):
        return Finding.error(
            "board",
            f"{', '.join(chips)}, but the model is for {wanted}",
            f"compile the bundle with --target {chip(chips[0])}",
        )
    return Finding(
        name="board", found=", ".join(chips) + (f"; model for {wanted}" if wanted else "")
    )


def _driver(machine: Machine) -> Finding:
    text = driver_text(machine, "version") or machine.text("/sys/module/rknpu/version") or ""
    version = parse_version(text)
    if not version:
        # The version is often readable by root only; the clock exists if the driver does.
        if clock_folder(machine) or any(map(machine.exists, DRIVER_FOLDERS)):
            return Finding(name="rknpu driver", found="present (only root can read its version)")
        return Finding.error(
            "rknpu driver",
            "not loaded",
            _in_container(machine)
            or "use a kernel with rknpu; `dmesg | grep -i rknpu` shows why it is not loaded",
        )
    found = _text(version)
    if version < _OLDEST_DRIVER:
        return Finding.warning(
            "rknpu driver",
            found,
            f"use a newer kernel from the board's vendor, with {_text(_OLDEST_DRIVER)} or later",
        )
    return Finding(name="rknpu driver", found=found)


def _render_node(machine: Machine) -> Finding:
    """Check the device file: a DRM render node, or /dev/rknpu in other configurations."""
    nodes = [
        node
        for path in (
            "/dev/rknpu",
            "/dev/dri/by-path/platform-*npu-render",
            f"/dev/dri/{RENDER_NODE}",
        )
        for node in machine.glob(path)
    ]
    if not nodes:
        return Finding.error(
            "device file",
            f"no /dev/dri/{RENDER_NODE}",
            _in_container(machine) or "check `dmesg | grep -i rknpu`",
        )
    node = nodes[0]
    shown = f"/{node.relative_to(machine.root)}"
    if not machine.may_use(node):
        return Finding.error(
            "device file",
            f"{shown}, which this user may not open",
            "sudo usermod -aG render,video $USER, and log in again",
        )
    return Finding(name="device file", found=shown)


def _library(machine: Machine) -> Path | None:
    return next(
        (file for place in _LIBRARY_PLACES for file in machine.glob(f"{place}/{LIBRARY}")), None
    )


def _library_finding(machine: Machine, file: Path | None, artifact: Artifact | None) -> Finding:
    if file is None:
        return Finding.error(
            LIBRARY,
            "not in /usr/lib",
            _in_container(machine)
            or f"sudo cp {LIBRARY} /usr/lib/ (take the one from RKNN Toolkit2 for this board)",
        )
    content = _content(file)
    if content is None:
        return Finding.error(
            LIBRARY,
            f"{file}, which cannot be read",
            f"sudo chmod 644 {file}; if {file} is not a regular file, replace it with a copy of "
            f"{LIBRARY}",
        )
    if not content.startswith(_ELF):
        return Finding.error(
            LIBRARY,
            "not a library, perhaps a web page saved under its name",
            "download the file itself, and copy it to /usr/lib",
        )
    version, tool = _library_version(content), (artifact.tool or "" if artifact else "")
    made_with = parse_version(tool)
    found = _text(version) or "an unknown version"
    if version and made_with and version < made_with:
        return Finding.error(
            LIBRARY,
            f"{found}, but the model was made by {tool}",
            f"copy the {LIBRARY} from RKNN Toolkit2 {_text(made_with)} (sudo cp {LIBRARY} "
            f"/usr/lib/), or compile the bundle with version {found}",
        )
    return Finding(name=LIBRARY, found=found)


def _content(file: Path | None) -> bytes | None:
    """Return the content of the library file; None if it is missing or unreadable."""
    try:
        return file.read_bytes() if file else None
    except OSError:
        return None


def _library_version(content: bytes) -> tuple[int, ...]:
    """Return the version from text in the library: "librknnrt version: 2.3.2 (429f97ae6b@...)"."""
    found = re.search(rb"librknnrt version: *(\d[\d.]*)", content)
    return parse_version(found[1].decode()) if found else ()


def _package(library: bytes | None) -> Finding:
    if not module_found("rknnlite"):
        return Finding.error(PACKAGE, "not installed in this Python", f"pip install {PACKAGE}")
    version = installed_version(PACKAGE)
    theirs = _library_version(library) if library else ()
    found = version or "present, without a version"
    if version and theirs and parse_version(version)[:2] != theirs[:2]:
        return Finding.warning(
            PACKAGE, f"{found}, but {LIBRARY} {_text(theirs)}", "update both to the same version"
        )
    return Finding(name=PACKAGE, found=found)


def _in_container(machine: Machine) -> str:
    return f"in this container: {MOUNTS}" if in_container(machine) else ""


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# The driver has its folder under /proc or under debugfs, depending on the kernel's configuration
# (rknpu_debugger.c); debugfs is for root only.
DRIVER_FOLDERS = ("/proc/rknpu", "/sys/kernel/debug/rknpu")


def read_npu(machine: Machine) -> Mapping[str, str]:
    """Return the peak core load, the clock and the temperature; unreadable values are omitted."""
    # "NPU load: Core0: 12%, Core1: 0%, Core2: 0%,", or "NPU load: 12%" with one core.
    loads = [int(load) for load in re.findall(r"(\d+)%", driver_text(machine, "load"))]
    found = {"npu_load_percent": str(max(loads))} if loads else {}
    return {
        **found,
        **clock_values("npu", npu_clock(machine)),
        **temperature_values(machine, "npu", "npu"),
    }


def driver_text(machine: Machine, name: str) -> str:
    """Return the content of a driver file from the first folder that has it; "" if none does."""
    texts = (machine.text(f"{folder}/{name}") for folder in DRIVER_FOLDERS)
    return next((text for text in texts if text), "")


def clock_folder(machine: Machine) -> Path | None:
    """Return the NPU's clock folder, such as `fdab0000.npu` on RK3588."""
    return next(iter(machine.glob("/sys/class/devfreq/*.npu")), None)


def npu_clock(machine: Machine) -> DeviceClock | None:
    return device_clock(machine, clock_folder(machine))
