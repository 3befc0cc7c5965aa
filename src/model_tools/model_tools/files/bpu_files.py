# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that D-Robotics' BPU compilers and their programs on a board read, and which compilers.

Of the statistics of an ACT policy `action_mean` and `action_std` are those of the state; those of
the action are `..._unnormalize`. The script on the board knows (x - mean) / std only, so other
normalisations are written as the same line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract, Scaling
from policy_core.interfaces import F32

RECORD, BUILD_ALL = "workspace.json", "build_all.sh"
"""What a workspace is made of, and the script that compiles all of its graphs."""
AXES = 4
"""Of a featuremap, which a model's inputs are."""
_NUMBER = "[0-9]" * 10
"""Of a sample, in the name of its file."""
PRECISIONS = ("int8", "int16")
BOARD_FOLDER = "bpu_output"
BOARD_FILES = tuple(
    f"{BOARD_FOLDER}/{name}"
    for name in (
        "*_mean.npy",
        "*_std.npy",
        "action_mean_unnormalize.npy",
        "action_std_unnormalize.npy",
        "new_actions.npy",
    )
)
"""Patterns of the files there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFiles:
    """How the files of a graph are named; {} stands for its name.

    Attributes:
        config, build: Settings of the compiler, and the script that runs it.
        calibration: Folder of the samples.
        four_axes: Whether inputs get four axes, as featuremaps have them.
    """

    config: str
    build: str
    calibration: str
    four_axes: bool


ONE_GRAPH = GraphFiles(
    config="config.yaml", build="build.sh", calibration="calibration", four_axes=True
)
ACT = GraphFiles(
    config="config_{}.yaml", build="build_{}.sh", calibration="calibration_data_{}", four_axes=False
)
"""As D-Robotics' exporter of ACT has it (rdk_LeRobot_tools), whose programs on the board give
`states` two axes."""


def four_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape as that of a featuremap: with ones behind."""
    return shape + (1,) * (AXES - len(shape))


def sample_folders(inputs: Sequence[str]) -> list[str]:
    """Return a folder for each input; names may have characters that folders may not."""
    return [f"{place}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}" for place, name in enumerate(inputs)]


def write_samples(
    folder: Path, parts: Iterable[F32], suffix: str, names: Iterable[str] | None = None
) -> None:
    """Write a folder of samples.

    Args:
        folder: Is made.
        parts: Rows of the input [rows, *shape that the compiler gets], one part after another.
        suffix: `.npy` of one row with batch axis each, or `.bin` of raw float32.
        names: Of the files, without suffix; numbers where there are none.
    """
    folder.mkdir(parents=True)
    rows = (row for part in parts for row in part)
    stems = iter(f"{number:06d}" for number in count()) if names is None else iter(names)
    for row in rows:
        file = folder / f"{next(stems)}{suffix}"
        if suffix == ".npy":
            np.save(file, row[np.newaxis], allow_pickle=False)
        else:
            file.write_bytes(row.tobytes())


def workspace_files(graphs: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of the files of a workspace around these graphs, and of no others.

    What the vendor's compiler made there took it hours, and is not among them.
    """
    found = [RECORD, BUILD_ALL]
    for name in graphs:
        samples = ACT.calibration.format(name)
        found += [
            f"{name}/{each}"
            for each in (
                ACT.config.format(name),
                ACT.build.format(name),
                *(converted_file(name, march) for march in MARCHES),
                *(
                    f"{samples}/{sample}{suffix}"
                    for sample in (f"*_{_NUMBER}", f"*/{_NUMBER}")
                    for suffix in (".npy", ".bin")
                ),
            )
        ]
    return tuple(found)


def converted_file(graph: str, march: str) -> str:
    """Return the name of a graph's model in the opset that the compiler of a march reads."""
    return f"{graph}.{march}.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """One of the compilers.

    Attributes:
        tool: Its command.
        arguments: Before the name of its settings.
        suffix: Of what it makes.
        sample_suffix: Of calibration files: `.npy`, or `.bin` for raw float32.
        last_opset: Newest that it reads.
        levels: Of optimisation, the last one the default.
        all_int16: What makes every node int16.
        keys: Further compiler parameters.
        image: Container that has it.
    """

    tool: str
    arguments: tuple[str, ...]
    suffix: str
    sample_suffix: str
    last_opset: int
    levels: tuple[str, ...]
    all_int16: str
    keys: Mapping[str, object]
    image: str

    def command(self, config: str) -> str:
        """Return what one types, given the file of the settings."""
        return " ".join((self.tool, *self.arguments, config))


BAYES = Toolchain(
    tool="hb_mapper",
    arguments=("makertbin", "--model-type", "onnx", "--config"),
    suffix=".bin",
    sample_suffix=".bin",
    last_opset=11,
    levels=("O0", "O1", "O2", "O3"),
    all_int16="set_all_nodes_int16;set_Softmax_input_int16;set_Softmax_output_int16;",
    keys={},
    image="openexplorer/ai_toolchain_ubuntu_20_x5_cpu:v1.2.8",
)
NASH = Toolchain(
    tool="hb_compile",
    arguments=("-c",),
    suffix=".hbm",
    sample_suffix=".npy",
    last_opset=19,
    levels=("O0", "O1", "O2"),
    all_int16="set_all_nodes_int16",
    keys={"extra_params": {"input_no_padding": True, "output_no_padding": True}},
    image="registry.d-robotics.cc/deliver/ai_toolchain_ubuntu_22_s100_s600_cpu:v3.7.0",
)
MARCHES = {"nash-e": NASH, "nash-m": NASH, "nash-p": NASH, "bayes-e": BAYES, "bayes": BAYES}
"""S100, S100P, S600; RDK X5, RDK Ultra."""


def write_board_files(folder: Path, contract: ChunkContract, chunk: F32) -> None:
    """Write the statistics and a normalised chunk [steps, actions], the network's first answer.

    Args:
        folder: The bundle; files go to `bpu_output` below it.
        contract: Of the bundle.
        chunk: Of which the script on the board takes the number of steps to execute.
    """
    place = folder / BOARD_FOLDER
    place.mkdir()
    pairs = {name: _mean_std(camera.normalisation, 3) for name, camera in contract.cameras.items()}
    for name, (mean, std) in pairs.items():
        np.save(place / f"{name}_mean.npy", mean.reshape(3, 1, 1))
        np.save(place / f"{name}_std.npy", std.reshape(3, 1, 1))
    for vector, end in ((contract.state, ""), (contract.action, "_unnormalize")):
        if vector is not None:
            mean, std = _mean_std(vector.normalisation, len(vector.joints))
            np.save(place / f"action_mean{end}.npy", mean)
            np.save(place / f"action_std{end}.npy", std)
    np.save(place / "new_actions.npy", chunk[np.newaxis])


def _mean_std(scaling: Scaling, size: int) -> tuple[F32, F32]:
    if scaling.mode == "mean_std":
        mean, std = np.array(scaling.mean), np.array(scaling.std)
    elif scaling.mode == "min_max":
        low, high = np.array(scaling.min), np.array(scaling.max)
        mean, std = (low + high) / 2.0, (high - low) / 2.0
    else:
        mean, std = np.zeros(size), np.ones(size)
    return mean.astype(np.float32), std.astype(np.float32)
