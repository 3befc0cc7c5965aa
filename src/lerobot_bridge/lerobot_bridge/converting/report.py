# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a conversion: as JSON beside the data, as lines of text, as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from lerobot_bridge.converting.convert import Conversion
from lerobot_bridge.mapping import RobotMapping
from model_tools.files.html_page import panel, table, write_page

_WORDS = ("episode", "task", "recording", "success", "why", "warning", "missing messages")


def document(
    found: Conversion, mapping: RobotMapping, skipped: Mapping[str, str]
) -> dict[str, Any]:
    """Return the whole report, for JSON.

    Args:
        found: The result of the conversion.
        mapping: The mapping that was used.
        skipped: Parts of recordings that are not episodes, and why.
    """
    index, episodes = 0, list[dict[str, Any]]()
    for episode, made in found.made:
        for number, (_, frames) in enumerate(made["parts"]):
            first = number == 0  # these describe the whole episode
            episodes.append(
                {
                    "episode_index": index,
                    "name": episode.name,
                    "recording": str(episode.bag),
                    "task": episode.task,
                    "tags": list(episode.tags),
                    "success": episode.success,
                    "part": number,
                    "frames": frames,
                    "seconds": frames / mapping.rate_hz,
                    "frames_closed_up": made["closed_up"] if first else 0,
                    "parts_too_short": made["too_short"] if first else 0,
                    "frames_left_out": made["left_out"] if first else [],
                    "warnings": made["warnings"] if first else [],
                }
            )
            index += 1
    return {
        "schema_version": 1,
        "robot_type": mapping.robot_type,
        "rate_hz": mapping.rate_hz,
        "pairing": asdict(mapping.pairing),
        "episodes": episodes,
        "episodes_left_out": [
            {"name": episode.name, "recording": str(episode.bag), "why": why}
            for episode, why in found.refused
        ],
        "skipped": [{"name": name, "why": why} for name, why in skipped.items()],
    }


def lines(said: Mapping[str, Any]) -> list[str]:
    """Return a report as lines: the content of the dataset, and what was left out."""
    frames = sum(each["frames"] for each in said["episodes"])
    text = [
        f"{len(said['episodes'])} episodes, {frames} frames, "
        f"{frames / said['rate_hz']:.1f} s at {said['rate_hz']} Hz"
    ]
    for each in said["episodes"]:
        if each["frames_left_out"]:
            text.append(f"{each['name']}: {_missing(each)}")
        text += [f"{each['name']}: warning: {warning}" for warning in each["warnings"]]
    text += [f"left out: {each['why']}" for each in said["episodes_left_out"]]
    return text + [f"skipped: {each['name']}: {each['why']}" for each in said["skipped"]]


def write_html(said: Mapping[str, Any], title: str, file: Path) -> None:
    """Write a report as one page."""
    rows = [
        [
            str(each["episode_index"]),
            each["name"],
            each["task"],
            _verdict(each["success"]),
            str(each["frames"]),
            f"{each['seconds']:.1f}",
            _missing(each),
        ]
        for each in said["episodes"]
    ]
    body = [
        f"<h1>{escape(title)}</h1><p>{escape(lines(said)[0])}</p>",
        panel(
            table(
                ["#", "episode", "task", "success", "frames", "s", "missing messages"], rows, _WORDS
            )
        ),
    ]
    warnings = [
        [each["name"], warning] for each in said["episodes"] for warning in each["warnings"]
    ]
    if warnings:
        body += ["<h2>Warnings</h2>", panel(table(["episode", "warning"], warnings, _WORDS))]
    for head, key in (("Left out", "episodes_left_out"), ("Skipped", "skipped")):
        if said[key]:
            body += [
                f"<h2>{head}</h2>",
                panel(
                    table(
                        ["episode", "why"],
                        [[each["name"], each["why"]] for each in said[key]],
                        _WORDS,
                    )
                ),
            ]
    write_page(file, title, body)


def _verdict(success: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[success]


def _missing(each: Mapping[str, Any]) -> str:
    """Return which frames an episode lacks, and which messages are missing for them."""
    found = [
        f"{one['name']} in {one['frames']} frames, the longest time {one['longest_s']:.3f} s"
        for one in each["frames_left_out"]
    ]
    closed = each["frames_closed_up"]
    return "; ".join(found) + (f" ({closed} closed up)" if closed else "")
