# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Export a LeRobot policy from its checkpoint to a bundle, without LeRobot or torch.

    model_tools export lerobot --policy-path pretrained_model --export-path so101_pick \
        --units degrees --dataset my_dataset

Supports ACT, Diffusion Policy, flow policies with the same network, and SmolVLA; `config.json`
states the type. The bundle has a graph for the encoders and one for the policy (for denoising
policies, one denoising step), and is verified on raw images. Options state what a checkpoint does
not contain: --robot and --units; for SmolVLA also --prompt, --vlm and, if needed,
--patch-positions.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.arguments import add_samples
from model_tools.errors import ToolError
from model_tools.make.act.choices import KNOWN, PATCH_POSITIONS, UNITS
from policy_store.command_line import CommandResult

if TYPE_CHECKING:  # --help does not load ONNX
    from model_tools.make.act.act_export import ExportedAct
    from model_tools.make.act.checkpoint import LerobotCheckpoint

TYPES = ("bayes", "bayes-e", "nash-e", "nash-m", "nash-p")
OPSETS = range(11, 21)
USUAL_FPS = 30.0
UNKNOWN_LICENCE = "NOASSERTION"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser, checkpoint: str = "--policy-path") -> None:
    """Declare the arguments; `checkpoint` is the flag of the checkpoint's folder."""
    parser.add_argument(
        checkpoint,
        dest="checkpoint",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the checkpoint: config.json, model.safetensors, and since LeRobot 0.4 the "
        "processors' files",
    )
    parser.add_argument(
        "--export-path", type=Path, required=True, metavar="FOLDER", help="bundle to write"
    )
    parser.add_argument(
        "--units",
        choices=UNITS,
        required=True,
        help="units of the policy's values, which no checkpoint states: degrees "
        "(LeRobot's default since 0.4), range (-100 to 100 of the calibrated "
        "range, the default until 0.3), radians; in the first two, grippers use 0 to 100",
    )
    parser.add_argument(
        "--robot",
        default="so101",
        metavar="NAME",
        help=f"{', '.join(KNOWN)} (default so101), or a YAML file with the joints in training "
        "order; a policy with twice as many joints has two arms, left first",
    )
    parser.add_argument(
        "--joint-prefix", default="", metavar="TEXT", help="prefix of the joint names"
    )
    parser.add_argument(
        "--fps",
        type=float,
        metavar="HZ",
        help="steps per second, as in the data; default: from --dataset or the checkpoint, "
        f"else {USUAL_FPS:g}, with a note",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="the training dataset, LeRobot v3: source of the rate, golden rows, largest steps "
        "and torques (nominal), pairing rule (pairing), and calibration for --type",
    )
    parser.add_argument(
        "--max-relative-target",
        type=_reach,
        metavar="RAD",
        help="largest distance of a target from the measured position, rad: one "
        "number, or JOINT=RAD,... for all joints",
    )
    parser.add_argument(
        "--n-action-steps",
        type=int,
        metavar="N",
        help="number of steps of each chunk to execute (default: the checkpoint's)",
    )
    parser.add_argument(
        "--resize",
        action="store_true",
        help="stretch images of --dataset and of the robot's cameras that differ in size from "
        "those in training",
    )
    parser.add_argument(
        "--graphs",
        choices=("two", "one"),
        default="two",
        help="encoders and the policy (default), or one graph (ACT only)",
    )
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="SmolVLA: the task in words, as in the data; it becomes part of the graphs",
    )
    parser.add_argument(
        "--vlm",
        type=Path,
        metavar="FOLDER",
        help="SmolVLA: config.json and tokenizer.json of the vision-language model that the "
        "checkpoint names (default: a local folder of that name); nothing is downloaded",
    )
    parser.add_argument(
        "--patch-positions",
        choices=PATCH_POSITIONS,
        help="SmolVLA: numbering of image patches in training: repeated (0, 0, 1, 2, ...: "
        "transformers 4 in float32) or counted (0, 1, 2, 3, ...: transformers 5; default for "
        "checkpoints of LeRobot 0.6)",
    )
    parser.add_argument(
        "--type",
        choices=TYPES,
        metavar="MARCH",
        help=f"type of BPU ({', '.join(TYPES)}); also makes a workspace for D-Robotics' compiler; "
        "needs --dataset",
    )
    add_samples(
        parser,
        "observations of the dataset that calibrate the BPU's models (default 200, or all if "
        "there are fewer)",
    )
    parser.add_argument(
        "--combine-jobs",
        type=int,
        default=6,
        metavar="N",
        help="number of processes for the BPU's compiler (default 6)",
    )
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        metavar="N",
        help="ONNX opset, 11 to 20 (default 11 for bayes, else 19)",
    )
    parser.add_argument(
        "--onnx-sim",
        action="store_true",
        help="simplify the graphs with onnxsim, and compare their outputs",
    )
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="NPZ",
        help="rows with the training code's outputs (cameras.NAME, state, chunk, and the initial "
        "noise), for comparison; they become the golden rows (default: random rows)",
    )
    parser.add_argument("--name", help="name of the policy (default: the bundle's folder)")
    parser.add_argument(
        "--policy-version",
        default="0.1.0",
        metavar="VERSION",
        help="version of the policy (default 0.1.0)",
    )
    parser.add_argument(
        "--licence",
        metavar="SPDX",
        help="identifier of the weights' license (default: the checkpoint's, else "
        f"{UNKNOWN_LICENCE})",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace an existing bundle, but not a folder with other files, such as compiled "
        "models",
    )


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Export a policy to a bundle.

    Returns:
        bundle (folder), name and version of the policy, joints in the policy's order, cameras
        (width and height by name), chunk_size, chunk_steps (number of executed steps), rate_hz,
        differences from the checkpoint's outputs in words, warnings, workspace_samples (in the
        workspace of --type; null without it).
    """
    return export(given)


def export(
    given: argparse.Namespace, policy: str | None = None
) -> CommandResult[Mapping[str, Any]]:
    """Export a policy, of type `policy` if given, and report the result."""
    from model_tools.make.act.act_contract import ActRequest
    from model_tools.make.act.act_export import export_checkpoint
    from model_tools.make.act.checkpoint import read_checkpoint
    from model_tools.make.act.smolvla_config import Language

    if given.type and given.dataset is None:
        raise ToolError(
            "--type: expected --dataset as well (a BPU's models need calibration), found none"
        )
    bayes = (given.type or "").startswith("bayes")
    taken = list[int]()
    finish = _workspace(given, taken) if given.type else lambda folder: None
    language = Language(prompt=given.prompt, vlm=given.vlm, patch_positions=given.patch_positions)
    checkpoint = read_checkpoint(given.checkpoint, language, policy)
    exported = export_checkpoint(
        ActRequest(
            checkpoint=checkpoint,
            output=given.export_path,
            robot=given.robot,
            units=given.units,
            prefix=given.joint_prefix,
            rate_hz=_rate_hz(given, checkpoint),
            steps=given.n_action_steps,
            name=given.name or _name(given.export_path),
            version=given.policy_version,
            graphs=given.graphs,
            opset=given.opset or (11 if bayes else 19),
            simplify=given.onnx_sim,
            golden=given.golden,
            dataset=given.dataset,
            force=given.force,
            resize=given.resize,
            max_relative_target=given.max_relative_target,
            licence=given.licence or checkpoint.config.licence or UNKNOWN_LICENCE,
        ),
        finish,
    )
    contract = exported.contract
    result = {
        "bundle": given.export_path,
        "name": contract.name,
        "version": contract.version,
        "joints": contract.joints.names,
        "cameras": {
            name: (camera.width, camera.height) for name, camera in contract.cameras.items()
        },
        "chunk_size": contract.chunk.size,
        "chunk_steps": contract.chunk.steps,
        "rate_hz": contract.rate_hz,
        "differences": exported.checked,
        "warnings": exported.warnings,
        "workspace_samples": taken[0] if given.type else None,
    }
    text = list(_described(given.export_path, exported))
    if given.type:
        text.extend(_how_to_compile(given, taken[0]))
    return CommandResult(document=result, text=text)


def _workspace(given: argparse.Namespace, taken: list[int]) -> Callable[[Path], None]:
    from model_tools.commands.arguments import progress_bar
    from model_tools.ship.compilers.bpu_workspace import prepare_workspace

    def make(folder: Path) -> None:
        with progress_bar("samples") as progress:
            taken.append(
                prepare_workspace(
                    folder, given.type, given.dataset, given.samples, given.combine_jobs, progress
                )
            )

    return make


def _how_to_compile(given: argparse.Namespace, samples: int) -> Iterator[str]:
    from model_tools.files.bpu_files import MARCHES
    from model_tools.ship.compilers.bpu_workspace import PRECISION, container_command

    output, toolchain = given.export_path, MARCHES[given.type]
    taken = [
        "model_tools",
        "compile",
        "bpu",
        "--bundle",
        output,
        "--precision",
        PRECISION,
        "--target",
        given.type,
        "--dataset",
        given.dataset,
        "--samples",
        samples,
        "--option",
        f"compiled={output}",
        "--output",
        f"{output}_{given.type}",
    ]
    yield f"{output}: workspace for {toolchain.tool}. Next, on the machine with the container:"
    yield f"  {container_command(output, toolchain.image)}"
    yield "then here, to make the bundle for the board:"
    yield f"  {shlex.join(map(str, taken))}"


def _described(output: Path, exported: ExportedAct) -> Iterator[str]:
    contract = exported.contract
    yield from (f"warning: {line}" for line in exported.warnings)
    yield from (f"difference, {line}" for line in exported.checked)
    cameras = (
        ", ".join(
            f"{name} {camera.width} x {camera.height}" for name, camera in contract.cameras.items()
        )
        or "none"
    )
    if contract.denoising is not None:
        yield (
            f"denoising: {contract.denoising.method}, {contract.denoising.steps} steps, "
            f"observations: {contract.denoising.observations}"
        )
    if contract.prompt:
        yield f"prompt: {contract.prompt}"
    yield f"joints: {', '.join(contract.joints.names)}"
    yield f"cameras: {cameras}"
    yield (
        f"chunk: {contract.chunk.size} steps at {contract.rate_hz:g} Hz, of which "
        f"{contract.chunk.steps} are executed"
    )
    yield str(output)


def _rate_hz(given: argparse.Namespace, checkpoint: LerobotCheckpoint) -> float:
    from model_tools.files.foreign import read_json
    from model_tools.files.lerobot.dataset_info import INFO

    if given.fps is not None:
        return float(given.fps)
    if given.dataset is not None and (given.dataset / INFO).is_file():
        return read_json(given.dataset / INFO)["fps"].positive()
    if checkpoint.training is not None:
        environment = checkpoint.training.get("env")
        fps = environment.get("fps") if environment else None
        if fps is not None:
            return fps.positive()
    _log.info("rate: %g Hz, since neither --fps nor --dataset states one", USUAL_FPS)
    return USUAL_FPS


def _reach(text: str) -> float | dict[str, float]:
    names, values = zip(*(entry.rpartition("=")[::2] for entry in text.split(",")), strict=True)
    try:
        found = [float(value) for value in values]
    except ValueError:
        found = []
    if (
        not found
        or not all(0.0 < value < math.inf for value in found)
        or (len(set(names)) < len(names) or (len(names) > 1 and "" in names))
    ):
        raise argparse.ArgumentTypeError(
            f"expected a number above 0, or JOINT=RAD,... with each joint once, found {text!r}"
        )
    return found[0] if names == ("",) else dict(zip(names, found, strict=True))


def _name(output: Path) -> str:
    name = re.sub(r"[^a-z0-9_]", "_", output.resolve().name.lower())
    return name if re.match("[a-z]", name) else f"policy_{name}"
