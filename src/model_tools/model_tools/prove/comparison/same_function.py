# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that two bundles define the same function, however they are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from model_tools.errors import ToolError, listed
from policy_core.bundle.body import Body
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import Camera, EnvironmentState, JointVector
from policy_core.bundle.contract import JointContract, Observation, Term
from policy_core.bundle.terms import TERMS, term_names

_SHOWN, _LONGEST = 4, 60


def check_same_function(reference: Bundle, other: Bundle) -> None:
    """Raise if the bundles differ in anything that changes behavior.

    This includes the rate, and the joints with gains and limits. For a joint policy, it also
    includes observations with history and statistics, the action, the recurrent state, the command
    range and the model's tensors; for a chunk policy, the cameras, vectors, units and statistics,
    but not the partition into graphs or their names.
    """
    ours, theirs = dict(_meaning(reference)), dict(_meaning(other))
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if keys:
        found = (
            f"{key} {_brief(theirs.get(key))} instead of {_brief(ours.get(key))}" for key in keys
        )
        raise ToolError(
            f"{other.path}: expected the same function as {reference.path}, found "
            f"{listed(found, _SHOWN, '; ')}"
        )


def _meaning(bundle: Bundle) -> Iterator[tuple[str, object]]:
    """Yield every value by its key, with one number per joint."""
    yield from _body(bundle.contract)
    yield from _MEANINGS[type(bundle)](bundle)


def _body(body: Body) -> Iterator[tuple[str, object]]:
    yield "rate_hz", body.rate_hz
    yield "joints.names", body.joints.names
    yield "joints.robot_names", body.joints.on_robot()
    for field in dataclasses.fields(body.joints):
        if field.name not in ("names", "robot_names"):
            yield f"joints.{field.name}", tuple(getattr(body.joints, field.name).tolist())


def _joint_meaning(bundle: JointBundle) -> Iterator[tuple[str, object]]:
    contract = bundle.contract
    for name, observation in contract.observations.items():
        for key, value in _observation(observation, bundle, name):
            yield f"observations.{name}.{key}", value
    yield "action.output", contract.action.output
    for i, term in enumerate(contract.action.terms):
        yield from _fields(f"action.terms[{i}]", term)
    for name, gain in contract.action.gain_outputs.items():
        yield from _fields(f"action.gains.{name}", gain)
    yield "state", {pair.input: pair.output for pair in contract.state}
    yield "velocity_command", contract.velocity_command
    yield "motion", contract.motion
    for key in ("inputs", "outputs"):
        for name, tensor in getattr(contract.model, key).items():
            yield f"model.{key}.{name}", (tensor.dtype, *tensor.shape)


def _observation(
    observation: Observation, bundle: JointBundle, name: str
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
    spec = TERMS[term.term]
    joints = tuple(term_names(term, contract)) if spec.size == "joints" else None
    offsets = term.offsets or (0.0,) if spec.size == "phase" else None
    return dataclasses.replace(
        term, joints=joints, offsets=offsets, parts=term.parts or spec.parts or None
    )


def _fields(key: str, part: object) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(part):  # type: ignore[arg-type]  # parts of the contract
        value, name = getattr(part, field.name), f"{key}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _fields(name, value)
        else:
            yield name, tuple(value.tolist()) if isinstance(value, np.ndarray) else value


def _chunk_meaning(bundle: ChunkBundle) -> Iterator[tuple[str, object]]:
    contract = bundle.contract
    yield "chunk.size", contract.chunk.size
    for joint, unit in contract.units.items():
        yield f"units.{joint}", unit
    yield "cameras", tuple(contract.cameras)
    parts: dict[str, Camera | JointVector | EnvironmentState | None] = {
        **{f"cameras.{name}": camera for name, camera in contract.cameras.items()},
        "state": contract.state,
        "environment_state": contract.environment_state,
        "action": contract.action,
    }
    for key, part in parts.items():
        for field in dataclasses.fields(part) if part is not None else ():
            if field.name not in ("encoder", "tensor", "timeout_s"):
                yield f"{key}.{field.name}", getattr(part, field.name)


def _brief(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


_MEANINGS: Mapping[type[Bundle], Callable[[Any], Iterator[tuple[str, object]]]] = {
    JointBundle: _joint_meaning,
    ChunkBundle: _chunk_meaning,
}
