# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a source file to a bundle folder with a draft of its contract."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from model_tools.completion.complete import DRAWN, Completion, complete
from model_tools.errors import ToolError
from model_tools.files import new_folder
from model_tools.importers.answers import answer_all, drop
from model_tools.importers.draft import TODO, Draft
from model_tools.importers.draft_text import draft_text
from model_tools.importers.follow_up import ask_what_follows, note_oddities
from model_tools.importers.joints import given_joints, joints_file
from model_tools.importers.model_section import MODEL_FILE
from model_tools.importers.onnx_metadata import require_same_joints
from model_tools.importers.registry import choose
from model_tools.importers.robot_file import read_robot
from model_tools.importers.robot_limits import ask_robot_names, put_robot_limits
from model_tools.importers.source import Given, read_source
from model_tools.importers.statistics import put_kept_statistics
from model_tools.onnx_model import read_onnx
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import CONTRACT_FILE, read_contract
from policy_inference.bundle.schema import Reader
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BundleError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to import, and what the user says besides."""

    source: Path
    model: Path | None = None
    format: str | None = None
    joints: str | None = None
    joint_order: str | None = None
    robot: Path | None = None
    answers: Sequence[str] = ()
    """`KEY=VALUE` each."""
    answer_file: Path | None = None
    """The same as YAML, `KEY: VALUE`; `answers` win."""
    dropped: Sequence[str] = ()
    """Keys to leave out."""


def make_draft(request: Request) -> Draft:
    """Return the draft of a contract, complete but for its open questions.

    Raises:
        ToolError: The source, the model or an answer does not fit.
        BundleError: Something that is no open question is not as the contract has it.
        OSError: A file cannot be read.
    """
    source = read_source(request.source)
    if request.joint_order is not None and request.joints is None:
        raise ToolError(f"--joint-order {request.joint_order}: expected --joints, whose order that "
                        "is, found none")
    joints = (None if request.joints is None
              else given_joints(request.joints, request.joint_order))
    draft = choose(source, request.format).read(source, Given(model=request.model, joints=joints))
    model = read_onnx(draft.model_file)
    require_same_joints(draft, model)
    put_kept_statistics(draft, model)
    robot = request.robot or joints_file(request.joints)
    if robot is not None:
        _put_robot(draft, robot)
    answer_all(draft, request.answers, request.answer_file)
    if robot is not None:  # whose joints an answer may have named
        _put_robot(draft, robot)
    ask_what_follows(draft)
    note_oddities(draft)
    for key in request.dropped:
        drop(draft, key)
    draft.complete()
    _check(draft)
    return draft


def import_bundle(
    request: Request, output: Path, completion: Completion = DRAWN, *, force: bool = False
) -> Draft:
    """Write a bundle folder with the draft and the model, whole or not at all.

    Args:
        request: What to import.
        output: Folder to be.
        completion: Where golden rows and nominal figures come from, once nothing is open.
        force: Whether a bundle that is there may be replaced.

    Returns:
        The draft as it was written.

    Raises:
        ToolError: As `make_draft`, or the folder is there already.
        BundleError: As `make_draft`; or nothing is open and the contract does not hold.
        PolicyError: As `model_tools.completion.complete.complete`.
        OSError: A file cannot be read or written.
    """
    draft = make_draft(request)
    with new_folder(output, marker=CONTRACT_FILE, force=force) as folder:
        _copy_model(draft, folder / MODEL_FILE)
        for name, beside in draft.beside.items():
            shutil.copyfile(beside, folder / name)
        file = folder / CONTRACT_FILE
        file.write_text(draft_text(draft), encoding="utf-8")
        if not draft.todos():
            read_contract(file)
            complete(folder, completion)
    return draft


def _put_robot(draft: Draft, file: Path) -> None:
    robot = read_robot(file)
    if not ask_robot_names(draft, robot, file.name):
        put_robot_limits(draft, robot, file.name)


def _copy_model(draft: Draft, file: Path) -> None:
    """Copy the model; weights in a second file are merged into it, since one hash covers both."""
    model = read_onnx(draft.model_file)
    if not model.external_files:
        shutil.copyfile(model.path, file)
        return
    model.require_beside()
    try:
        onnx.save(onnx.load(str(model.path)), str(file))
    except onnx.checker.ValidationError as error:
        raise ToolError(f"{model.path}: expected its weights beside it in "
                        f"{', '.join(model.external_files)}, found {error}; copy what the training "
                        "exported as a whole") from error
    artifact = draft.find(("model", "artifacts", "onnx"))
    artifact["sha256"] = sha256_of(file)
    artifact["made"] = f"weights of {', '.join(model.external_files)} merged into the model"


def _check(draft: Draft) -> None:
    """Raise for what the contract's reader refuses besides open questions."""
    reader = Reader(f"{CONTRACT_FILE} (not written)")
    reader.section(JointContract, draft.values)
    todos = draft.todos()
    open_keys = set(todos) | {f"{key}.{TODO}" for key in todos}
    wrong = [problem for problem in reader.problems if problem.key not in open_keys
             and not _is_of_an_answer(problem, todos)]
    if wrong:
        raise BundleError(wrong)


def _is_of_an_answer(problem: Problem, todos: Collection[str]) -> bool:
    """Return whether a value is missing that comes with an answer, as `standing.below` does."""
    return problem.found == "nothing" and any(problem.key.startswith(f"{key}.") for key in todos)
