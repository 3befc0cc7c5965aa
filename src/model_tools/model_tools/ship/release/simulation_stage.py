# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulation stage: the real controller runs the candidate on the simulated robot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.prove.comparison import walking
from model_tools.prove.comparison.candidates import candidate
from model_tools.prove.comparison.walking import Walked
from model_tools.ship.release.evidence import SIMULATION_KIND
from model_tools.ship.release.release_file import Release
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.safe_files import whole_file
from policy_inference.comparison.limits import Check, closed_loop_limits
from policy_store.report import plain

_DIGITS = 6


def simulate(
    release: Release, bundle: Path, baseline: str, robot: SimulatedRobot, report: Path
) -> None:
    """Run a bundle's walks on the simulated robot, and write the results.

    The walks are the same as in `model_tools compare --closed-loop`: each is judged by the limits
    of a good walk, and compared with the baseline's walk by the contract's closed-loop limits.

    Args:
        release: Release that states the bundle and the length of each walk.
        bundle: Folder of that bundle.
        baseline: Folder or name of the baseline's bundle; if empty, the bundle is compared with
            itself.
        robot: Robot to simulate.
        report: File to write, replacing an existing one.
    """
    loaded = load_bundle(bundle, kind=JointBundle, instead=_NO_WALK)
    stage = release.stages.simulation
    if stage is None or loaded.sha256 != release.sha256:
        raise ToolError(
            f"{bundle}: expected {release.name} {release.version} ({release.sha256}) in a release "
            f"with a simulation stage, found {loaded.contract.version} ({loaded.sha256})"
        )
    loaded.verify()
    walk_s = stage.walk_s
    walks = _walks(loaded, walk_s, robot)
    limits = closed_loop_limits(loaded.contract, _BACKEND)
    reference, before = walks, None
    if baseline:
        old = load_bundle(bundle_folder(baseline), kind=JointBundle, instead=_NO_WALK)
        reference, before = _walks(old, walk_s, robot), old.sha256
    checks = (
        *walking.judge(walks, reference, limits),
        *walking.judge_alone(walks, loaded),
    )
    document = {
        "kind": SIMULATION_KIND,
        "ran": f"model_tools compare --closed-loop: {len(walks)} walks of {walk_s:g} s",
        "walk_s": walk_s,
        "robot": robot.name,
        "backend": _BACKEND,
        "bundle_sha256": loaded.sha256,
        "baseline_sha256": before,
        "walks": [_figures(walk) for walk in walks],
        "checks": [_check(check) for check in dict.fromkeys(checks)],
    }
    with whole_file(report, 0o644) as file:
        text = json.dumps(plain(document, _DIGITS), indent=1, allow_nan=False)
        file.write(f"{text}\n".encode())


_BACKEND = "onnx"
_NO_WALK = "skip the stage simulation (`release new --without simulation`)"


def _walks(bundle: JointBundle, walk_s: float, robot: SimulatedRobot) -> Sequence[Walked]:
    with candidate(bundle, _BACKEND, {}).opened() as models:
        return walking.walk_each(bundle, models.first, walk_s, robot)


def _figures(walk: Walked) -> dict[str, Any]:
    return {"command": list(walk.command), **dataclasses.asdict(walk.outcome)}


def _check(check: Check) -> dict[str, Any]:
    return {"text": str(check), "holds": bool(check), "value": check.value, "limit": check.limit}
