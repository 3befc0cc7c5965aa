# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""D-Robotics' BPU compilers, and files for them and for D-Robotics' programs on the board.

In an ACT policy's statistics file, `action_mean` and `action_std` hold the state's statistics; the
action's are named `..._unnormalize`. The script on the board computes only (x - mean) / std, so
other normalizations are converted to that form.
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
"""File that lists a workspace's sources, and the script that compiles all its graphs."""
AXES = 4
"""Number of axes of a feature map; all model inputs must be feature maps."""
_NUMBER = "[0-9]" * 10
"""Pattern for a sample's number in its file name."""
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
"""Patterns for the files that programs on the board read."""


CONFIG, BUILD, CALIBRATION = "config_{}.yaml", "build_{}.sh", "calibration_data_{}"
"""Names of a graph's files, with {} for the graph, as in D-Robotics' ACT exporter
(rdk_LeRobot_tools): compiler settings, the script that runs the compiler, and the sample folder.
"""


def four_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a tensor's shape, padded at the end with ones to the four axes of a feature map."""
    return shape + (1,) * (AXES - len(shape))


def sample_folders(inputs: Sequence[str]) -> list[str]:
    """Return a folder name for each input, without characters that are not allowed in one."""
    return [f"{place}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}" for place, name in enumerate(inputs)]


def write_samples(
    folder: Path, parts: Iterable[F32], suffix: str, names: Iterable[str] | None = None
) -> None:
    """Write each sample to a file in a new folder.

    Args:
        folder: Folder to create.
        parts: Blocks of input rows [rows, *shape for the compiler], in order.
        suffix: `.npy` for one row with a batch axis per file; `.bin` for raw float32.
        names: File names without suffix; numbers if None.
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
    """Return patterns that match exactly the workspace files of these graphs.

    The results of the vendor's compiler, which take hours to make, do not match.
    """
    found = [RECORD, BUILD_ALL]
    for name in graphs:
        samples = CALIBRATION.format(name)
        found += [
            f"{name}/{each}"
            for each in (
                CONFIG.format(name),
                BUILD.format(name),
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
    """Return the file name of a graph's model, converted to the opset of a march's compiler."""
    return f"{graph}.{march}.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A BPU compiler: its command, file formats and settings.

    Attributes:
        tool: Compiler command.
        arguments: Arguments before the settings file's name.
        suffix: Suffix of the output file.
        sample_suffix: Suffix of calibration files: `.npy`, or `.bin` for raw float32.
        last_opset: Newest opset that the compiler supports.
        levels: Optimization levels; the last one is the default.
        all_int16: Setting that makes every node int16.
        keys: Additional compiler parameters.
        image: Container image of the compiler.
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
        """Return the command line for a settings file."""
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
"""Compilers by BPU architecture: S100, S100P, S600; RDK X5, RDK Ultra."""


def write_board_files(folder: Path, contract: ChunkContract, chunk: F32) -> None:
    """Write statistics and a normalized chunk for D-Robotics' script on the board.

    Args:
        folder: Folder of the bundle; files are written to `bpu_output` in it.
        contract: Contract of the bundle.
        chunk: The network's first output [steps, actions]; the script executes as many steps as
            this chunk has.
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
