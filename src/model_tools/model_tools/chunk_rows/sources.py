# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Opens what the user names as a source of observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model_tools.bags.bag import is_bag
from model_tools.chunk_rows.bag_source import BagSource
from model_tools.chunk_rows.dataset_source import DatasetSource
from model_tools.chunk_rows.observation import ObservationSource
from model_tools.errors import ToolError
from model_tools.lerobot.dataset_info import INFO
from policy_inference.bundle.chunk_contract import ChunkContract


def open_source(
    contract: ChunkContract, path: Path, topics: Mapping[str, str] | None = None
) -> ObservationSource:
    """Open a LeRobot dataset or a rosbag2 recording.

    Args:
        contract: Says what the policy sees.
        path: Folder of the dataset or of the recording, or the recording's only file.
        topics: Topics of a recording by input, where they have other names.

    Raises:
        ToolError: It is neither, or lacks something that the policy sees.
        OSError: It cannot be read.
    """
    if (path / INFO).is_file() or not is_bag(path):
        if topics:
            raise ToolError(f"--topic: expected a recording, found {path}")
        if path.exists() and not path.is_dir():
            raise ToolError(f"{path}: expected a LeRobot dataset or a rosbag2 recording, found "
                            "another file")
        return DatasetSource(contract, path)
    return BagSource(contract, path, topics or {})
