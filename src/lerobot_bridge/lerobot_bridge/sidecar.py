# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The file beside the messages of a recorded episode: what was to be done, and how it ended."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lerobot_bridge.episode import SIDECAR
from policy_inference.bundle.schema import Found, Reader, entry, load_yaml
from policy_inference.errors import BundleError
from policy_inference.safe_files import whole_file


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRan:
    """The policy that drove."""

    node: str = entry("full name of its node")
    bundle_name: str = entry("name in its contract")
    bundle_version: str = entry("version in its contract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is known of a recorded episode beside its messages."""

    schema_version: Literal[1] = entry("1", default=1)
    number: int = entry("of the episode within its session, from 0", minimum=0)
    task: str = entry("what was to be done")
    tags: tuple[str, ...] = entry("words to find it by", default=())
    success: bool | None = entry("whether that was reached; null: nobody said", default=None)
    interventions: tuple[tuple[int, ...], ...] | None = entry(
        "[begin, end) of each time that a person drove in the policy's place, ns of the log; null: "
        "nobody watched for it",
        default=None,
    )
    rate_hz: int = entry("frames per second of the mapping", minimum=1)
    policy: PolicyRan | None = entry("what drove; null: a person", default=None)
    ended: str = entry("why it ended", default="")
    lost: int = entry("messages that came faster than they could be written", default=0, minimum=0)
    not_received: dict[str, int] = entry(
        "messages that were sent and did not come, by topic", default={}
    )
    problems: tuple[str, ...] = entry("why no dataset is made of it", default=())


def read_sidecar(folder: Path) -> Sidecar:
    """Return what the file in an episode's folder says.

    Raises:
        BundleError: It is missing or does not fit; names everything that is wrong.
    """
    path = folder / SIDECAR
    reader = Reader(str(path))
    found = reader.section(Sidecar, load_yaml(path))
    for i, span in enumerate(found.interventions or () if found is not None else ()):
        if len(span) != 2 or span[0] > span[1]:
            reader.problem(f"interventions[{i}]", "[begin, end]", Found.of(list(span)))
    if reader.problems:
        raise BundleError(reader.problems)
    sidecar: Sidecar = found
    return sidecar


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write the file, whole or not at all; one that is there is replaced.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps(dataclasses.asdict(sidecar), indent=1, ensure_ascii=False)
    with whole_file(folder / SIDECAR, mode=0o644) as file:
        file.write(f"{text}\n".encode())
