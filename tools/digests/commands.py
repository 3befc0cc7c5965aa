# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line tools on what the repository has, and on recordings made for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin

from tools.digests.bags import arm_bag, walk_bag
from tools.digests.bundles import exact_bundle, exact_chunks
from tools.digests.digest import Case
from tools.digests.exchanges import Service
from tools.digests.internals import lerobot_frames, reached
from tools.digests.texts import (
    BUNDLES,
    EXAMPLES,
    file_stages,
    inspections,
    run_command,
    text_stages,
)

_WALK, _REACH = BUNDLES / "lite3_walk", BUNDLES / "so101_reach"
_OF_THE_RUN = r".*latency_s|artifacts\[\d+\]\.bundle_sha256"


def command_line(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return a case for each command."""
    exact, other = exact_bundle(folder / "exact"), exact_bundle(folder / "other", scale=0.5625)
    mcap = walk_bag(folder / "walk_mcap")
    sqlite3 = walk_bag(folder / "walk_sqlite3", StoragePlugin.SQLITE3)
    yield from inspections(
        folder,
        {
            "lite3_walk": BUNDLES / "lite3_walk",
            "so101_reach": BUNDLES / "so101_reach",
            "onnx": BUNDLES / "lite3_walk" / "policy.onnx",
            "golden": BUNDLES / "lite3_walk" / "golden.npz",
            "descriptor": EXAMPLES / "lite3_walk" / "io_descriptor.yaml",
            "network": EXAMPLES / "lite3_walk" / "network.yaml",
            "walk_mcap": mcap,
            "walk_sqlite3": sqlite3,
        },
    )
    yield from _imports(folder, exact / "policy.onnx")
    for name, words in {
        "mcap": ["--bag", mcap, "--samples", "all"],
        "sqlite3": ["--bag", sqlite3, "--samples", "all"],
        "drawn": ["--bag", mcap, "--samples", "128", "--every", "3", "--from", "2", "--to", "15"],
        "golden": ["--rows", exact / "golden.npz", "--samples", "all"],
    }.items():
        yield f"calibrate_{name}", calibrated(folder, name, exact, words)
    yield "compare", compared(folder, "compare", [exact, other, "--rows", mcap])
    yield "complete_bag", completed(folder, "complete_bag", exact, ["--bag", mcap])
    yield from _chunks(folder)


def _chunks(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return the cases of a chunk policy, and of LeRobot's view of the same recording."""
    arm, other = exact_chunks(folder / "arm"), exact_chunks(folder / "arm2", scale=0.5625)
    bag = arm_bag(folder / "arm_bag")
    yield from inspections(folder, {"arm_bag": bag})
    words = ["--bag", bag, "--cal-num", "40"]
    yield "calibrate_chunks", calibrated(folder, "chunks", arm, words, output="calib")
    yield "compare_chunks", compared(folder, "chunks", [arm, other, "--rows", bag])
    report = folder / "check.json"
    check: list[str | Path] = [
        "lerobot_bridge",
        "check",
        bag,
        "--mapping",
        "so101_reach",
        "--decode-images",
    ]
    lines = run_command(*check, "--report", report, folder=folder)
    yield "lerobot/check", {**text_stages(lines), **file_stages(report, work=folder)}
    yield "lerobot/frames", lerobot_frames(bag, "so101_reach")


def shipped(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return the cases of the shipped policies with their trained weights."""
    rows = np.load(_WALK / "golden.npz")["obs"].reshape(-1, 45)
    shutil.copytree(_WALK, folder / "served")
    with Service(folder / "served", "--socket", folder / "raw", backend="onnx") as serving:
        yield "onnx/golden", serving.raw(folder / "raw", rows)
    bag, arm = walk_bag(folder / "walk"), arm_bag(folder / "arm")
    words = ["--bag", bag, "--samples", "all"]
    yield "onnx/calibrate", calibrated(folder, "walk", _WALK, words)
    words = ["--bag", arm, "--cal-num", "20"]
    yield "onnx/calibrate_chunks", calibrated(folder, "arm", _REACH, words, output="calib")
    yield "onnx/compare_chunks", compared(folder, "arm", [_REACH, _REACH, "--rows", arm])
    for seed in (1, 2):
        yield f"mujoco/arm{seed}", reached(seed)
    words = [_WALK, _WALK, "--rows", bag, "--closed-loop", "--seconds", "5"]
    yield "mujoco/closed_loop", compared(folder, "walk", words)
    yield "mujoco/complete", completed(folder, "complete", _WALK, ["--simulate"])


def calibrated(
    folder: Path, name: str, bundle: Path, words: list[Any], output: str = "rows.npz"
) -> Case:
    """Return what `calibrate` prints, writes and reports."""
    place = folder / f"calibrate_{name}"
    place.mkdir()
    written, report = place / output, place / "report"
    command = ["model_tools", "calibrate", "--bundle", bundle, *words, "--output", written]
    if output.endswith("npz"):
        command += ["--report", report, "--allow-poor"]
    lines = run_command(*command, folder=place, above=folder)
    return {
        **text_stages(lines),
        **file_stages(written, work=place, above=folder),
        **file_stages(report / "coverage.json", work=place, above=folder),
    }


def compared(folder: Path, name: str, words: list[Any]) -> Case:
    """Return what `compare` prints and reports, less how long things take."""
    place = folder / f"compare_{name}"
    place.mkdir()
    lines = run_command("model_tools", "compare", *words, "--output", "report", folder=place)
    return {
        "status": lines[:1],
        **file_stages(place / "report" / "comparison.json", drop=_OF_THE_RUN, work=folder),
    }


def completed(folder: Path, name: str, contract: Path, words: list[Any]) -> Case:
    """Return what `complete` prints and writes."""
    place = folder / name
    place.mkdir()
    command = ["model_tools", "complete", contract, *words, "--output", "bundle"]
    lines = run_command(*command, folder=place, above=folder)
    return {**text_stages(lines), **bundle_stages(place / "bundle")}


def imported(folder: Path, name: str, words: list[Any], **folders: Path) -> Case:
    """Return what `import` prints and writes."""
    place = folder / f"import_{name}"
    place.mkdir()
    command = ["model_tools", "import", *words, "--output", "bundle"]
    lines = run_command(*command, folder=place, above=folder, **folders)
    return {**text_stages(lines), **bundle_stages(place / "bundle")}


def bundle_stages(bundle: Path) -> Case:
    """Return the contract and the golden rows of a bundle that a command wrote."""
    return {
        **file_stages(bundle / "policy.yaml", work=bundle),
        **file_stages(bundle / "golden.npz", work=bundle),
    }


def _imports(folder: Path, model: Path) -> Iterator[tuple[str, Case]]:
    source = EXAMPLES / "lite3_walk" / "io_descriptor.yaml"
    words = [source, "--model", model]
    yield "import_draft", imported(folder, "draft", words)
    answers = ["--answers", EXAMPLES / "lite3_walk" / "answers.yaml"]
    yield "import_answered", imported(folder, "answered", [*words, *answers])
