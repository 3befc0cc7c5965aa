# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a bundle and a back end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_tools.comparison.same_function import check_same_function
from model_tools.errors import ToolError
from policy_inference.backends.registry import Options, artifact_for, open_backend
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
        options: Of the back end.
        entry: What the contract says of it; for a back end that builds from another's artifact,
            of that one, with the precision of what is built.
        size_bytes: Of its file.
    """

    label: str
    bundle: Bundle
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
    found = [candidate(load_bundle(folder), backend, options)
             for folder in folders for backend in backends]  # fmt: skip
    if len(found) < 2:
        raise ToolError("expected two or more artifacts to compare, found one; name a second "
                        "bundle, or a second back end with --backends")
    for number, other in enumerate(found[1:], 1):
        check_same_function(found[0].bundle, other.bundle)
        _refuse_same_file(other, found[:number])
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def candidate(bundle: Bundle, backend: str, options: Options) -> Candidate:
    """Return a bundle's artifact for a back end.

    Raises:
        BundleError, BackendError: It has none, or not the file that the contract means.
    """
    entry, file = artifact_for(bundle, backend)
    return Candidate(label=entry.precision, bundle=bundle, backend=backend,
                     options=options.get(backend, {}), entry=entry,
                     size_bytes=file.stat().st_size)  # fmt: skip


def _refuse_same_file(other: Candidate, before: Sequence[Candidate]) -> None:
    for one in before:
        if (one.backend, one.entry.sha256) == (other.backend, other.entry.sha256):
            raise ToolError(f"{other.bundle.path}: expected another artifact than that of "
                            f"{one.bundle.path}, found the same file on the same back end "
                            f"({other.backend}), which proves nothing; name another back end "
                            "with --backends, or a bundle with another model")
