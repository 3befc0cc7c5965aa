# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that this board can run models on its BPU, without opening a device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from policy_core.bundle.contract import Artifact
from policy_inference.backends.bpu.device import CORES, board_march, bpu_clock, clock_folder
from policy_inference.backends.bpu.failures import INSTALL, MARCHES
from policy_inference.backends.bpu.pyeasy import PACKAGES
from policy_inference.backends.bpu.runtime import FAMILIES, HBM_RUNTIME, PYEASY_DNN
from policy_inference.machine.clocks import clock_finding
from policy_inference.machine.machine import Finding, Machine, module_found
from policy_inference.machine.system import in_container


def examine_bpu(machine: Machine, artifact: Artifact | None) -> Iterator[Finding]:
    """Yield the findings, with required parts first."""
    march = board_march(machine)
    yield _board(march)
    if artifact is not None and march is not None:
        yield _model(artifact, march)
    yield _driver(machine)
    yield _runtime(march)
    folder = clock_folder(machine)
    yield from clock_finding(
        "BPU", bpu_clock(machine), f"echo performance | sudo tee {folder}/governor"
    )


def _board(march: str | None) -> Finding:
    if march is None:
        return Finding.error(
            "board",
            "no known board with a BPU",
            "run it on an RDK X5, Ultra, S100, S100P or S600",
        )
    return Finding(name="board", found=f"runs models for {march}")


def _model(artifact: Artifact, march: str) -> Finding:
    suffix, target = Path(artifact.file).suffix, artifact.target
    found = f"{suffix} for {target or 'a board that policy.yaml does not name'}"
    fits = march.startswith(FAMILIES.get(suffix, " ")) and target in (None, march)
    if fits:
        return Finding(name="model", found=found)
    return Finding.error(
        "model",
        f"{found}, but this board has {march}",
        f"compile the bundle with --target {march} ({MARCHES})",
    )


def _driver(machine: Machine) -> Finding:
    cores = machine.glob(CORES)
    if not cores:
        return Finding.error(
            "BPU driver",
            "no core under /sys/devices/system/bpu",
            "start the container with --privileged and the host's /sys and /dev"
            if in_container(machine)
            else "use the board's own system",
        )
    closed = [node.name for node in machine.glob("/dev/bpu*") if not machine.may_use(node)]
    if closed:
        return Finding.error(
            "BPU driver",
            f"/dev/{', /dev/'.join(closed)}, which this user may not open",
            "run as a user with access, or as root",
        )
    return Finding(name="BPU driver", found=f"{len(cores)} cores")


def _runtime(march: str | None) -> Finding:
    """Return the finding on runtime modules: S boards need `hbm_runtime`, others any of them."""
    there = [name for name in (HBM_RUNTIME, *PACKAGES) if module_found(name)]
    if not there or ((march or "").startswith("nash") and HBM_RUNTIME not in there):
        found = ", ".join(there) or f"neither {HBM_RUNTIME} nor {PYEASY_DNN}"
        return Finding.error("runtime", found, INSTALL)
    return Finding(name="runtime", found=", ".join(there))
