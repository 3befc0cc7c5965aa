# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Double of `hb_mapper makertbin` and `hb_compile`: refuses what their settings may not be.

Run as a script, by a Python that has numpy, onnx and PyYAML; what it makes is a text about it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

MAPPER, COMPILE = "hb_mapper", "hb_compile"
REQUIRED = {
    "model_parameters": {"onnx_model", "march", "output_model_file_prefix"},
    "input_parameters": {
        "input_name",
        "input_shape",
        "input_type_rt",
        "input_type_train",
        "input_layout_train",
        "norm_type",
    },
    "calibration_parameters": {"cal_data_dir"},
    "compiler_parameters": {"compile_mode", "optimize_level"},
}
ALLOWED = {
    "model_parameters": {"working_dir", "layer_out_dump"},
    "input_parameters": {"input_layout_rt"},
    "calibration_parameters": {"calibration_type", "optimization", "max_percentile", "per_channel"},
    "compiler_parameters": {"core_num", "debug", "jobs", "input_source", "max_time_per_fc"},
}
ALSO = {
    MAPPER: {"calibration_parameters": {"cal_data_type"}},
    COMPILE: {
        "calibration_parameters": {"quant_config"},
        "compiler_parameters": {"extra_params", "advice", "balance_factor", "cache_mode"},
    },
}
MARCHES = {MAPPER: {"bayes-e", "bayes"}, COMPILE: {"nash-e", "nash-m", "nash-p"}}
LEVELS = {MAPPER: "O3", COMPILE: "O2"}
OPSETS = {MAPPER: (10, 11), COMPILE: (10, 19)}


def check_settings(
    tool: str, folder: Path, config: dict[str, dict[str, Any]]
) -> list[tuple[int, ...]]:
    """Raise ValueError for what the tool refuses; return the shapes of the inputs."""
    for group, required in REQUIRED.items():
        keys = set(config[group])
        known = required | ALLOWED[group] | ALSO[tool].get(group, set())
        if required - keys or keys - known:
            raise ValueError(f"{group}: missing {required - keys}, unknown {keys - known}")
    if config.keys() != REQUIRED.keys():
        raise ValueError(f"groups {list(config)}")
    if config["model_parameters"]["march"] not in MARCHES[tool]:
        raise ValueError(f"march {config['model_parameters']['march']}")
    level = config["compiler_parameters"]["optimize_level"]
    if not "O0" <= level <= LEVELS[tool] or len(level) != 2:
        raise ValueError(f"optimize_level {level}")
    return _check_inputs(tool, folder, config)


def _check_inputs(
    tool: str, folder: Path, config: dict[str, dict[str, Any]]
) -> list[tuple[int, ...]]:
    given = config["input_parameters"]
    names = given["input_name"].split(";")
    lists = {key: text.split(";") for key, text in given.items()}
    calibration = config["calibration_parameters"]
    lists["cal_data_dir"] = calibration["cal_data_dir"].split(";")
    if tool == MAPPER:
        lists["cal_data_type"] = calibration["cal_data_type"].split(";")
    for key, values in lists.items():
        if len(values) != len(names):
            raise ValueError(f"{key}: {values} for {names}")
    if {*lists["input_type_rt"], *lists["input_type_train"]} != {"featuremap"}:
        raise ValueError("only featuremaps are known")
    if set(lists["norm_type"]) != {"no_preprocess"}:
        raise ValueError("a featuremap has no preprocessing")
    shapes = [tuple(map(int, text.split("x"))) for text in lists["input_shape"]]
    # Two: as D-Robotics' exporter of ACT gives `states` to both tools.
    if any(len(shape) not in (2, 4) for shape in shapes):
        raise ValueError(f"a featuremap has two or four axes: {shapes}")
    _check_model(tool, folder / config["model_parameters"]["onnx_model"], names, shapes)
    counts = {
        _check_samples(tool, folder / place, shape)
        for place, shape in zip(lists["cal_data_dir"], shapes, strict=True)
    }
    if len(counts) != 1:
        raise ValueError(f"inputs have different numbers of samples: {counts}")
    return shapes


def _check_model(
    tool: str, file: Path, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    first, last = OPSETS[tool]
    if not first <= model.opset_import[0].version <= last:
        raise ValueError(f"opset {model.opset_import[0].version}")
    found = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    }
    if found != dict(zip(names, shapes, strict=True)):
        raise ValueError(f"inputs of the model: {found}")


def _check_samples(tool: str, folder: Path, shape: tuple[int, ...]) -> int:
    files = sorted(folder.iterdir())
    for file in files:
        if tool == MAPPER and file.stat().st_size != 4 * int(np.prod(shape)):
            raise ValueError(f"{file}: {file.stat().st_size} bytes for {shape}")
        if tool == COMPILE:
            sample = np.load(file, allow_pickle=False)
            if (sample.shape, sample.dtype) != (shape, np.float32):
                raise ValueError(f"{file}: {sample.dtype}{sample.shape}")
    return len(files)


def run_vendor_tool(tool: str, arguments: Sequence[str]) -> None:
    """Do as the tool of this name does."""
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"{tool}, version 1.2.3\n")
        return
    parser = argparse.ArgumentParser(prog=tool)
    if tool == MAPPER:
        parser.add_argument("verb", choices=["makertbin"])
        parser.add_argument("--model-type", choices=["onnx", "caffe"], required=True)
    parser.add_argument("-c", "--config", type=Path, required=True)
    file: Path = parser.parse_args(arguments).config
    config = yaml.safe_load(file.read_text("utf-8"))
    check_settings(tool, file.parent, config)
    model = config["model_parameters"]
    made = Path(model["working_dir"], model["output_model_file_prefix"])
    made.parent.mkdir()
    graph = onnx.load(file.parent / model["onnx_model"]).graph
    names = ", ".join(value.name for value in (*graph.input, *graph.output))
    made.with_suffix(".bin" if tool == MAPPER else ".hbm").write_bytes(
        f"\0made by {tool}: {names}".encode()
    )
    Path(f"{tool}.log").write_text("done", "utf-8")


if __name__ == "__main__":
    run_vendor_tool(sys.argv[1], sys.argv[2:])
