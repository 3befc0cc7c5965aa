# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether two bundles mean the same by their models: all of a contract that changes behaviour."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from model_tools.errors import ToolError
from policy_inference.bundle.body import Body
from policy_inference.bundle.contract import ActionTerm, JointContract, Observation, Term
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names

_SHOWN, _LONGEST = 4, 60


def check_same_function(reference: Bundle, other: Bundle) -> None:
    """Compare what changes behaviour, however it is written.

    That is rate, joints with gains and limits, observations with history and statistics, action,
    recurrent state, range of commands, and tensors of the model.

    Raises:
        ToolError: Something differs; it is named.
    """
    require_same(reference.path, dict(_meaning(reference)), other.path, dict(_meaning(other)))


def require_same(
    reference: Path, ours: Mapping[str, object], other: Path, theirs: Mapping[str, object]
) -> None:
    """Compare what two bundles mean, by key.

    Raises:
        ToolError: Something differs; it is named.
    """
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if keys:
        found = [f"{key} {_brief(theirs.get(key))} instead of {_brief(ours.get(key))}"
                 for key in keys[:_SHOWN]]  # fmt: skip
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise ToolError(f"{other}: expected the same function as {reference}, found "
                        f"{'; '.join(found)}{more}")


def body_meaning(body: Body) -> Iterator[tuple[str, object]]:
    """Yield rate and joints by their keys, as they change behaviour in every kind of policy."""
    names = body.joints.names
    yield "rate_hz", body.rate_hz
    yield "joints.names", names
    yield "joints.robot_names", body.joints.on_robot()
    for field in dataclasses.fields(body.joints):
        if field.name not in ("names", "robot_names"):
            values = per_joint(getattr(body.joints, field.name), names)
            yield f"joints.{field.name}", tuple(values.tolist())


def _meaning(bundle: Bundle) -> Iterator[tuple[str, object]]:
    """Yield everything by its key, values per joint as one number for each."""
    contract = bundle.contract
    yield from body_meaning(contract)
    for name, observation in contract.observations.items():
        for key, value in _observation(observation, bundle, name):
            yield f"observations.{name}.{key}", value
    yield "action.output", contract.action.output
    for i, term in enumerate(contract.action.terms):
        yield from _fields(f"action.terms[{i}]", _action(term, contract))
    yield "state", {pair.input: pair.output for pair in contract.state}
    yield "velocity_command", contract.velocity_command
    for key in ("inputs", "outputs"):
        for name, tensor in getattr(contract.model, key).items():
            yield f"model.{key}.{name}", (tensor.dtype, *tensor.shape)


def _observation(
    observation: Observation, bundle: Bundle, name: str
) -> Iterator[tuple[str, object]]:
    for i, term in enumerate(observation.terms):
        yield from _fields(f"terms[{i}]", _term(term, bundle.contract))
    yield from _fields("history", observation.history)
    yield "order", observation.order
    yield "clip", observation.clip
    if observation.normalisation is not None:
        mean, divisor = bundle.statistics[name]
        yield "normalisation.clip", observation.normalisation.clip
        yield "normalisation mean", tuple(mean.tolist())
        yield "normalisation std", tuple(divisor.tolist())


def _term(term: Term, contract: JointContract) -> Term:
    names = term_names(term, TERMS[term.term], contract)
    joints = tuple(names) if TERMS[term.term].size == "joints" else None
    scale = tuple(per_joint(term.scale, names).tolist())
    spec = TERMS[term.term]
    offsets = term.offsets or (0.0,) if spec.size == "phase" else None
    return dataclasses.replace(term, scale=scale, joints=joints, offsets=offsets,
                               parts=term.parts or spec.parts or None)


def _action(term: ActionTerm, contract: JointContract) -> ActionTerm:
    offset, names = term.offset, term.joints
    if offset == "default_position":
        every = contract.joints.names
        default = per_joint(contract.joints.default_position, every)
        offset = tuple(float(default[every.index(name)]) for name in names)
    return dataclasses.replace(term, scale=tuple(per_joint(term.scale, names).tolist()),
                               offset=tuple(per_joint(offset, names).tolist()))


def _fields(key: str, part: object) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(part):  # type: ignore[arg-type]  # parts of the contract
        yield f"{key}.{field.name}", getattr(part, field.name)


def _brief(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
