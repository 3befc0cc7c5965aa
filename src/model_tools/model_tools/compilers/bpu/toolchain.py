# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The vendor's two compilers and the BPUs that they compile for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PRECISIONS = ("int8", "int16")


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
    tool="hb_mapper", arguments=("makertbin", "--model-type", "onnx", "--config"),
    suffix=".bin", sample_suffix=".bin", last_opset=11, levels=("O0", "O1", "O2", "O3"),
    all_int16="set_all_nodes_int16;set_Softmax_input_int16;set_Softmax_output_int16;", keys={},
    image="openexplorer/ai_toolchain_ubuntu_20_x5_cpu:v1.2.8",
)  # fmt: skip
NASH = Toolchain(
    tool="hb_compile", arguments=("-c",), suffix=".hbm", sample_suffix=".npy",
    last_opset=19, levels=("O0", "O1", "O2"), all_int16="set_all_nodes_int16",
    keys={"extra_params": {"input_no_padding": True, "output_no_padding": True}},
    image="registry.d-robotics.cc/deliver/ai_toolchain_ubuntu_22_s100_s600_cpu:v3.7.0",
)  # fmt: skip
MARCHES = {"nash-e": NASH, "nash-m": NASH, "nash-p": NASH, "bayes-e": BAYES, "bayes": BAYES}
"""S100, S100P, S600; RDK X5, RDK Ultra."""
