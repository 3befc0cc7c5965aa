# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a bundle and a back end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.contract import Artifact
from policy_inference.bundle.load import Bundle, load_bundle
from policy_inference.interfaces import Backend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """An artifact of a bundle.

    Attributes:
        label: What it is called in tables: its precision, or more where that is not enough.
        bundle: Its bundle.
        backend: The back end that runs it.
        entry: What the contract says of it.
        size_bytes: Of its file.
    """

    label: str
    bundle: Bundle
    backend: str
    entry: Artifact
    size_bytes: int

    @contextmanager
    def opened(self) -> Iterator[Backend]:
        """Open its backend, and close it at the end.

        Raises:
            BackendError: It does not open.
        """
        backend, _ = open_backend(self.bundle, [self.backend])
        try:
            yield backend
        finally:
            backend.close()


def candidates(folders: Sequence[Path], backends: Sequence[str]) -> list[Candidate]:
    """Return each bundle's artifacts for these back ends; the first is the reference.

    Raises:
        BundleError, BackendError: A bundle cannot be loaded or lacks an artifact.
        ToolError: There are fewer than two, or they are not the same function.
    """
    found = [candidate(load_bundle(folder), backend)
             for folder in folders for backend in backends]  # fmt: skip
    if len(found) < 2:
        raise ToolError("expected two or more artifacts to compare, found one; name a second "
                        "bundle, or a second back end with --backends")
    for other in found[1:]:
        check_same_function(found[0], other)
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def candidate(bundle: Bundle, backend: str) -> Candidate:
    """Return a bundle's artifact for a back end.

    Raises:
        BundleError, BackendError: It has none, or not the file that the contract means.
    """
    entry, file = bundle.artifact(backend)
    return Candidate(label=entry.precision, bundle=bundle, backend=backend, entry=entry,
                     size_bytes=file.stat().st_size)  # fmt: skip


def check_same_function(reference: Candidate, other: Candidate) -> None:
    """Compare tensors, joints and the order of the action.

    Raises:
        ToolError: They differ.
    """
    for key in ("inputs", "outputs"):
        ours, theirs = (getattr(c.bundle.contract.model, key) for c in (reference, other))
        if ours != theirs:
            raise ToolError(f"{other.bundle.path}: expected model.{key} as in "
                            f"{reference.bundle.path} ({_names(ours)}), found {_names(theirs)}")
    if joints(reference) != joints(other):
        raise ToolError(f"{other.bundle.path}: expected the action's joints as in "
                        f"{reference.bundle.path} ({', '.join(joints(reference))}), found "
                        f"{', '.join(joints(other))}")


def joints(candidate: Candidate) -> tuple[str, ...]:
    """Return the joint of each value of the action output."""
    terms = candidate.bundle.contract.action.terms
    return tuple(joint for term in terms for joint in term.joints)


def _names(tensors: dict[str, object]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items())
