# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Import a training file in a known format into a bundle folder with a draft contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx

from model_tools.errors import ToolError
from model_tools.files.control_flow import require_bounded_turns
from model_tools.files.onnx_model import DYNAMIC
from model_tools.files.outputs import new_folder
from model_tools.make.complete import DRAWN, Completion, complete
from model_tools.make.importers import (
    bare_onnx,
    deploy_yaml,
    descriptor,
    env_yaml,
    leapp,
    onnx_metadata,
    rl_sar,
)
from model_tools.make.importers.agent_yaml import ask_clips, find_agent_file, put_clips
from model_tools.make.importers.answers import answer_all, ask_what_follows, drop, note_oddities
from model_tools.make.importers.draft import TODO, Draft, draft_text
from model_tools.make.importers.joints import given_joints, joints_file
from model_tools.make.importers.motion import put_motion
from model_tools.make.importers.onnx_metadata import require_same_joints
from model_tools.make.importers.robot_file import (
    ask_robot_names,
    is_estimated,
    put_estimation,
    put_robot_limits,
    read_robot,
)
from model_tools.make.importers.source import (
    MODEL_FILE,
    Given,
    TrainingSource,
    put_kept_statistics,
    read_source,
)
from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.schema import Reader, read_bytes
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError
from policy_core.observation.scan_scene import check_scenes
from policy_store.durable import errors_renamed

SCENE_FILE = "scan_scene.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Options for an import."""

    source: Path
    model: Path | None = None
    format: str | None = None
    joints: str | None = None
    joint_order: str | None = None
    robot: Path | None = None
    motion: Path | None = None
    scene: Path | None = None
    """A scan from training, to verify a `height_scan` term."""
    agent: Path | None = None
    """The training library's `agent.yaml`; if absent, it is looked for in the run folder."""
    estimator: bool = False
    """True if the velocity estimator provides base_lin_vel."""
    answers: Sequence[str] = ()
    """Answers as `KEY=VALUE`."""
    answer_file: Path | None = None
    """File with answers in YAML, `KEY: VALUE`; `answers` take precedence."""
    dropped: Sequence[str] = ()
    """Keys to leave out."""


def make_draft(request: ImportRequest) -> Draft:
    """Return the draft of a contract, complete except for its open questions."""
    source = read_source(request.source)
    if request.joint_order is not None and request.joints is None:
        raise ToolError(
            f"--joint-order {request.joint_order}: expected --joints (the joints in this "
            "order), found none"
        )
    joints = None if request.joints is None else given_joints(request.joints, request.joint_order)
    importer = choose(source, request.format)
    draft = importer.read(source, Given(model=request.model, joints=joints))
    require_same_joints(draft)
    _put_clips(draft, request, importer)
    put_kept_statistics(draft)
    robot = request.robot or joints_file(request.joints)
    if robot is not None:
        _put_robot(draft, robot)
    answer_all(draft, request.answers, request.answer_file)
    if robot is not None:  # an answer may have named its joints
        _put_robot(draft, robot)
    put_motion(draft, request.motion, robot)
    if request.estimator or is_estimated(draft):
        put_estimation(draft, request.robot)
    if request.scene is not None:
        _put_scene(draft, request.scene)
    ask_what_follows(draft, request.robot.name if request.robot else "the robot")
    note_oddities(draft)
    for key in request.dropped:
        drop(draft, key)
    draft.complete()
    require_bounded_turns(draft.model)
    _check(draft)
    return draft


def import_bundle(
    request: ImportRequest, output: Path, completion: Completion = DRAWN, *, force: bool = False
) -> Draft:
    """Write a bundle folder with the draft and the model, completely or not at all.

    Args:
        request: Options for the import.
        output: Folder to write.
        completion: Sources of golden rows and nominal figures, used if no question is open.
        force: Replace an existing bundle.

    Returns:
        The draft as written.
    """
    draft = make_draft(request)
    with new_folder(output, marker=CONTRACT_FILE, force=force) as folder:
        _copy_model(draft, folder / MODEL_FILE)
        for name, beside in draft.beside.items():
            (folder / name).write_bytes(beside)
        file = folder / CONTRACT_FILE
        file.write_text(draft_text(draft), encoding="utf-8")
        if not draft.todos():
            parse_contract(read_bytes(file), file, kind=JointContract)
            # The scene in the bundle is a copy of the user's file, which has another name.
            scene = str(folder / SCENE_FILE)
            with errors_renamed(lambda text: text.replace(scene, str(request.scene))):
                complete(folder, completion)
                check_scenes(load_bundle(folder, kind=JointBundle))
    return draft


def _put_clips(draft: Draft, request: ImportRequest, importer: Importer) -> None:
    """Write the clips of the run's `agent.yaml`, or ask for them if that file is missing.

    Only files that describe the environment alone need it: a `deploy.yaml` is what the robot's
    maker runs, and a LEAPP graph computes targets, to which these clips do not apply.
    """
    file = request.agent or find_agent_file(request.source)
    if file is not None and importer is not leapp:
        put_clips(draft, file)
    elif importer in (descriptor, env_yaml):
        ask_clips(draft)


def _put_scene(draft: Draft, file: Path) -> None:
    terms = [path for path, term in draft.terms() if term.get("term") == "height_scan"]
    if len(terms) != 1:
        raise ToolError(f"--scene {file}: expected one height_scan term, found {len(terms)}")
    draft.keep((*terms[0], "scene"), SCENE_FILE, file.read_bytes(), file.name)


def _put_robot(draft: Draft, file: Path) -> None:
    robot = read_robot(file)
    if not isinstance(draft.find("joints.names"), list):
        return  # they are an open question
    if not ask_robot_names(draft, robot, file.name):
        put_robot_limits(draft, robot, file.name)


def _copy_model(draft: Draft, file: Path) -> None:
    """Copy the model, with external weights merged in and with the contract's sizes of tensors.

    One hash covers model and weights. Runtimes with fixed memory need fixed sizes.
    """
    model = draft.model
    sizes = _stated_sizes(draft)
    if not model.external_files and not sizes:
        file.write_bytes(model.content)
        return
    model.require_beside()
    whole = onnx.load_model_from_string(model.content)
    for tensor in (*whole.graph.input, *whole.graph.output):
        axes, shape = tensor.type.tensor_type.shape.dim, sizes.get(tensor.name, ())
        for axis, size in zip(axes, shape, strict=False):
            axis.dim_value = size
    try:
        onnx.load_external_data_for_model(whole, str(model.path.parent))
        onnx.save(whole, str(file))
    except onnx.checker.ValidationError as error:
        raise ToolError(
            f"{model.path}: expected the model's weights beside it in "
            f"{', '.join(model.external_files)}, found: {error}; copy everything that the training "
            "run exported"
        ) from error
    artifact = draft.find(("model", "artifacts", "onnx"))
    artifact["sha256"] = sha256_file(file)
    changes = [
        *([f"weights of {', '.join(model.external_files)} merged in"] * bool(model.external_files)),
        *([f"fixed the size of {', '.join(sizes)}"] * bool(sizes)),
    ]
    artifact["made"] = f"by import: {'; '.join(changes)}"


def _stated_sizes(draft: Draft) -> dict[str, list[int]]:
    """Return the contract's shape of each model tensor whose axes are not all fixed."""
    stated = {
        name: draft.find(("model", kind, name, "shape"))
        for kind, tensors in (("inputs", draft.model.inputs), ("outputs", draft.model.outputs))
        for name, tensor in tensors.items()
        if DYNAMIC in tensor.shape
    }
    return {name: shape for name, shape in stated.items() if isinstance(shape, list)}


def _check(draft: Draft) -> None:
    """Raise an error for problems in the contract that are not open questions."""
    reader = Reader(f"{CONTRACT_FILE} (not written)")
    reader.section(JointContract, draft.values)
    todos = draft.todos()
    open_keys = set(todos) | {f"{key}.{TODO}" for key in todos}
    wrong = [
        problem
        for problem in reader.problems
        if problem.key not in open_keys
        # Such as `standing.below`, which comes with the answer.
        and not (
            problem.found == "nothing" and problem.key.startswith(tuple(f"{k}." for k in todos))
        )
    ]
    if wrong:
        raise BundleError(*wrong)


class Importer(Protocol):
    """Interface of this package's modules, each of which reads one format."""

    NAME: str

    def recognise(self, source: TrainingSource) -> bool:
        """Return whether the file has this format."""

    def read(self, source: TrainingSource, given: Given) -> Draft:
        """Return a draft from the file."""


_MODULES: tuple[Importer, ...] = (
    descriptor,
    env_yaml,
    deploy_yaml,
    leapp,
    onnx_metadata,
    rl_sar,
    bare_onnx,
)
IMPORTERS = {importer.NAME: importer for importer in _MODULES}


def choose(source: TrainingSource, name: str | None = None) -> Importer:
    """Return the importer of this name, or the importer that recognizes the file."""
    known = ", ".join(IMPORTERS)
    if name is not None:
        if name not in IMPORTERS:
            raise ToolError(f"--format: expected one of {known}, found {name}")
        return IMPORTERS[name]
    found = [importer for importer in IMPORTERS.values() if importer.recognise(source)]
    if not found and source.has("schema_version", "kind"):
        raise ToolError(
            f"{source.path}: expected a file from a training run, found a bundle's contract; "
            "give its folder to `model_tools inspect` or `complete`"
        )
    if len(found) != 1:
        names = " and ".join(importer.NAME for importer in found) or "none of them"
        alone = "" if found else "; or pass only --model POLICY, and every value becomes a question"
        raise ToolError(
            f"{source.path}: expected one of the formats {known}, found {names}; choose one with "
            f"--format{alone}"
        )
    return found[0]
