# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a bundle and a back end that mean the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from policy_inference.backends.registry import Options, artifact_for, open_backend
from policy_inference.bundle.body import Body
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import Artifact, JointContract, Observation, Term
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.terms import TERMS, term_names
from policy_inference.interfaces import Backend

_SHOWN, _LONGEST = 4, 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """An artifact of a bundle.

    Attributes:
        label: What it is called in tables: its precision, or more where that is not enough.
        bundle: Its bundle.
        backend: The back end that runs it.
        options: Of the back end.
        entry: What the contract says of it; for a back end that builds from another's artifact,
            of that one, with the precision of what is built.
        size_bytes: Of its file.
    """

    label: str
    bundle: JointBundle
    backend: str
    options: Mapping[str, str]
    entry: Artifact
    size_bytes: int

    @contextmanager
    def opened(self) -> Iterator[Backend]:
        """Open its backend, and close it at the end.

        Raises:
            BackendError: It does not open.
        """
        backend, _ = open_backend(self.bundle, [self.backend], {self.backend: self.options})
        try:
            yield backend
        finally:
            backend.close()


def candidates(
    folders: Sequence[Path], backends: Sequence[str], options: Options
) -> list[Candidate]:
    """Return each bundle's artifacts for these back ends; the first is the reference.

    Args:
        folders: Of the bundles.
        backends: Names of back ends.
        options: Values of their options, by back end.

    Raises:
        BundleError, BackendError: A bundle cannot be loaded or lacks an artifact.
        ToolError: There are fewer than two, they are not the same function, or two are the same
            file on the same back end.
    """
    found = [
        candidate(load_bundle(folder, kind=JointBundle), backend, options)
        for folder in folders
        for backend in backends
    ]
    if len(found) < 2:
        raise ToolError(
            "expected two or more artifacts to compare, found one; name a second "
            "bundle, or a second back end with --backends"
        )
    for number, other in enumerate(found[1:], 1):
        check_same_function(found[0].bundle, other.bundle)
        _refuse_same_file(other, found[:number])
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def candidate(bundle: JointBundle, backend: str, options: Options) -> Candidate:
    """Return a bundle's artifact for a back end.

    Raises:
        BundleError, BackendError: It has none, or not the file that the contract means.
    """
    entry, file = artifact_for(bundle, backend)
    return Candidate(
        label=entry.precision,
        bundle=bundle,
        backend=backend,
        options=options.get(backend, {}),
        entry=entry,
        size_bytes=file.stat().st_size,
    )


def _refuse_same_file(other: Candidate, before: Sequence[Candidate]) -> None:
    for one in before:
        if (one.backend, one.entry.sha256) == (other.backend, other.entry.sha256):
            raise ToolError(
                f"{other.bundle.path}: expected another artifact than that of "
                f"{one.bundle.path}, found the same file on the same back end "
                f"({other.backend}), which proves nothing; name another back end "
                "with --backends, or a bundle with another model"
            )


def check_same_function(reference: JointBundle, other: JointBundle) -> None:
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
        found = [
            f"{key} {_brief(theirs.get(key))} instead of {_brief(ours.get(key))}"
            for key in keys[:_SHOWN]
        ]
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise ToolError(
            f"{other}: expected the same function as {reference}, found {'; '.join(found)}{more}"
        )


def body_meaning(body: Body) -> Iterator[tuple[str, object]]:
    """Yield rate and joints by their keys, as they change behaviour in every kind of policy."""
    yield "rate_hz", body.rate_hz
    yield "joints.names", body.joints.names
    yield "joints.robot_names", body.joints.on_robot()
    for field in dataclasses.fields(body.joints):
        if field.name not in ("names", "robot_names"):
            yield f"joints.{field.name}", tuple(getattr(body.joints, field.name).tolist())


def _meaning(bundle: JointBundle) -> Iterator[tuple[str, object]]:
    """Yield everything by its key, values per joint as one number for each."""
    contract = bundle.contract
    yield from body_meaning(contract)
    for name, observation in contract.observations.items():
        for key, value in _observation(observation, bundle, name):
            yield f"observations.{name}.{key}", value
    yield "action.output", contract.action.output
    for i, term in enumerate(contract.action.terms):
        yield from _fields(f"action.terms[{i}]", term)
    yield "state", {pair.input: pair.output for pair in contract.state}
    yield "velocity_command", contract.velocity_command
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
        value = getattr(part, field.name)
        is_array = isinstance(value, np.ndarray)
        yield f"{key}.{field.name}", tuple(value.tolist()) if is_array else value


def _brief(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
