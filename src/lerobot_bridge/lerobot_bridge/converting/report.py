# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report on a conversion: the episodes of the dataset, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lerobot_bridge.converting.convert import Conversion
from lerobot_bridge.mapping import RobotMapping
from policy_store.report import Note, Part, Report, Section, Table, Tone, Verdict


def conversion_report(
    name: str, found: Conversion, mapping: RobotMapping, skipped: Mapping[str, str]
) -> Report:
    """Return the report on a conversion.

    Args:
        name: Name of the dataset.
        found: The result of the conversion.
        mapping: The mapping that was used.
        skipped: Parts of recordings that are not episodes, with the reason for each.
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
    values = {
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
    return Report(title=name, values=values, digits=17, parts=list(_parts(episodes, values)))


def _parts(episodes: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[Part]:
    frames, rate_hz = sum(each["frames"] for each in episodes), values["rate_hz"]
    yield f"{len(episodes)} episodes, {frames} frames, {frames / rate_hz:.1f} s at {rate_hz} Hz"
    for each in episodes:
        if each["frames_left_out"]:
            yield Note(Verdict("missing", Tone.WARN), f"{each['name']}: {_missing(each)}")
        for warning in each["warnings"]:
            yield Note(Verdict("warning", Tone.WARN), f"{each['name']}: {warning}")
    for each in values["episodes_left_out"]:
        yield Note(Verdict("left out", Tone.BAD), each["why"])
    for each in values["skipped"]:
        yield Note(Verdict("skipped", Tone.PLAIN), f"{each['name']}: {each['why']}")
    keys = ("episode_index", "name", "task", "frames", "seconds")
    success = {True: "yes", False: "no", None: ""}
    table = Table(
        header=("#", "episode", "task", "frames", "s", "success"),
        rows=[(*(each[key] for key in keys), success[each["success"]]) for each in episodes],
    )
    yield Section(title="Episodes", parts=[table], is_folded=True)


def _missing(each: Mapping[str, Any]) -> str:
    found = [
        f"{one['name']} in {one['frames']} frames, the longest time {one['longest_s']:.3f} s"
        for one in each["frames_left_out"]
    ]
    closed = each["frames_closed_up"]
    return "; ".join(found) + (f" ({closed} closed up)" if closed else "")
