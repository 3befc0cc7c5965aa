# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a policy can shadow another one: same robot, same commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import CONTRACT_FILE, Bundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.contract import JointContract
from policy_core.errors import BundleError, Problem
from policy_core.interfaces import Kind
from policy_core.observation.state import RobotState

_Difference = tuple[str, str, str]
"""Contract key, expected value and found value."""


def require_comparable(active: AnyContract, sizes: Mapping[str, int], bundle: Bundle) -> None:
    """Raise BundleError unless a policy can shadow the active one.

    The names and order of joints may differ between the two contracts; on the robot, they are the
    same.

    Args:
        active: The active policy's contract.
        sizes: Fields of the active policy's state, with their sizes.
        bundle: The shadow's bundle, of the same kind.
    """
    contract: Any = bundle.contract
    differences = [*_differences(active, contract)]
    if contract.kind in _KIND_DIFFERENCES:
        differences += _KIND_DIFFERENCES[contract.kind](active, sizes, contract)
    else:
        differences.append(
            ("kind", f"a kind that can be compared {_named(_KIND_DIFFERENCES)}", contract.kind)
        )
    if differences:
        raise BundleError(
            *(
                Problem(
                    file=str(bundle.path / CONTRACT_FILE),
                    key=key,
                    expected=expected,
                    found=found,
                    remedy="a shadow uses the inputs of the active policy: choose another bundle",
                )
                for key, expected, found in differences
            )
        )


def _differences(active: AnyContract, contract: AnyContract) -> Iterator[_Difference]:
    for key, wanted, found in (
        ("joints.names", _named(active.joints.on_robot()), _named(contract.joints.on_robot())),
        ("rate_hz", f"{active.rate_hz:.9g}", f"{contract.rate_hz:.9g}"),
    ):
        if wanted != found:
            yield key, _as_active(wanted), found


def _of_joints(
    active: JointContract, sizes: Mapping[str, int], contract: JointContract
) -> Iterator[_Difference]:
    if {*active.joints.on_robot()} != {*contract.joints.on_robot()}:
        return  # already reported as joints.names
    theirs, ours = _kinds(active), _kinds(contract)
    for joint, kind in theirs.items():
        if ours[joint] != kind:
            yield "action.terms", _as_active(f"{joint} commanded by {kind}"), str(ours[joint])
    state = RobotState(contract)
    for name in state.sensed:
        if sizes.get(name) != state[name].size:
            yield (
                "observations",
                f"fields that the active policy measures ({', '.join(sizes)})",
                name,
            )
    for topic, label in contract.perceived.items():
        seen = active.perceived.get(topic)
        if seen not in (None, label):
            yield (
                "observations",
                f"the same contract for {topic} as in the active policy",
                "a different one",
            )


def _kinds(contract: JointContract) -> dict[str, str]:
    """Return the command kind of each robot joint; position for joints without a term."""
    driven = {
        joint: term.kind
        for term in contract.action.terms
        for joint in contract.joints.on_robot(term.joints)
    }
    return {
        joint: str(driven.get(joint, Kind.POSITION.value)) for joint in contract.joints.on_robot()
    }


def _of_chunks(
    active: ChunkContract, sizes: Mapping[str, int], contract: ChunkContract
) -> Iterator[_Difference]:
    theirs, ours = (_named(each.joints.on_robot(each.action.joints)) for each in (active, contract))
    if contract.denoising is not None:
        yield (
            "denoising",
            "a policy whose chunk depends on the observation only",
            "one that denoises random chunks (two runs always differ)",
        )
    if theirs != ours:
        yield "action.joints", _as_active(theirs), ours
    if active.pairing.rule != contract.pairing.rule:
        yield "pairing.rule", _as_active(active.pairing.rule), contract.pairing.rule
    for name, camera in contract.cameras.items():
        seen = active.cameras.get(name)
        if seen is None:
            yield "cameras", f"cameras of the active policy {_named(active.cameras)}", name
        elif not camera.resize and (seen.width, seen.height) != (camera.width, camera.height):
            yield (
                f"cameras.{name}",
                _as_active(f"`resize: true`, or {seen.width} x {seen.height} pixels"),
                f"{camera.width} x {camera.height}",
            )
    outside, seen_outside = contract.environment_state, active.environment_state
    if outside is not None and (
        seen_outside is None
        or (outside.topic, outside.size) != (seen_outside.topic, seen_outside.size)
    ):
        expected = (
            "none" if seen_outside is None else f"{seen_outside.topic}, {seen_outside.size} values"
        )
        yield "environment_state", _as_active(expected), f"{outside.topic}, {outside.size} values"


_KIND_DIFFERENCES: Mapping[str, Callable[[Any, Mapping[str, int], Any], Iterator[_Difference]]] = {
    "joint": _of_joints,
    "chunk": _of_chunks,
}
"""Additional differences, by the kind of the two policies."""


def _as_active(expected: str) -> str:
    return f"{expected} as in the active policy"


def _named(names: Iterable[str]) -> str:
    return f"({', '.join(sorted(names))})"
