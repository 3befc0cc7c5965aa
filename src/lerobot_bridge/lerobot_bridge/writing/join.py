# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts into one dataset, by LeRobot's own aggregation."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from lerobot.datasets.aggregate import aggregate_datasets
from lerobot.datasets.utils import create_lerobot_dataset_card, get_hf_features_from_features

from model_tools.lerobot.dataset_info import INFO_FILE


def join_parts(
    parts: Sequence[Path], output: Path, repo_id: str, tags: Sequence[str], description: str
) -> None:
    """Write the dataset of all parts, in their order, and its card.

    Args:
        parts: Datasets of one episode each, of the same features.
        output: Where; it must not be there yet.
        repo_id: What the dataset is called: user/name.
        tags: Words to find it by, beside LeRobot's.
        description: For the card.

    Raises:
        OSError: It cannot be written.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(output.parent)
    try:  # videos grow in the temporary folder: on the disk where there must be room for them
        aggregate_datasets([f"local/{part.name}" for part in parts], repo_id, list(parts), output)
    finally:
        tempfile.tempdir = before
    info = json.loads((output / "meta" / "info.json").read_text("utf-8"))
