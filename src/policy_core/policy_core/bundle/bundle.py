# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A loaded bundle: its contract, and access to its files."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from policy_core.bundle.arrays import read_initial_state, read_rows, read_statistics
from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import Artifact, File, Graph, JointContract, Normalisation
from policy_core.bundle.verified import sha256_file, verified, verified_bytes
from policy_core.errors import BackendError, BundleError, Problem
from policy_core.interfaces import F64, Tensor, row_shape

if TYPE_CHECKING:  # not needed by a policy without a clip, outside of a set
    from policy_core.bundle.clip import MotionClip
    from policy_core.bundle.set_contract import HostedContract, SetContract

CONTRACT_FILE, SET_FILE, REPORT_FOLDER = "policy.yaml", "set.yaml", "reports"
SIGNATURE_FILE = f"{CONTRACT_FILE}.sig"
"""Name of the file with the signature over the contract's bytes, if the bundle is signed."""
HOSTED_FILES = (CONTRACT_FILE, SET_FILE)
"""Contract file names; a bundle folder contains exactly one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model in a bundle: its contract entry and the bundle folder."""

    folder: Path
    key: str
    """Contract key: `model` or `graphs.NAME`."""
    model: Graph

    def entry(self, backend: str) -> Artifact:
        """Return the contract entry for a back end.

        Raises:
            BackendError: There is no artifact for this back end.
        """
        artifacts = self.model.artifacts
        if backend not in artifacts:
            of = "" if self.key == "model" else f" in {self.key}"
            raise BackendError(
                f"{self.folder / CONTRACT_FILE}: no artifact for the back end {backend!r}{of}; "
                f"this bundle has {', '.join(artifacts)}; compile one (`model_tools compile`), or "
                "choose another back end"
            )
        return artifacts[backend]

    def artifact(self, backend: str) -> tuple[Artifact, Path]:
        """Return a back end's contract entry and file, after checking the file's hash.

        A robot opens a copy that cannot change after hashing: see
        `policy_core.bundle.verified.verified_copy`.

        Raises:
            BackendError: There is no artifact for this back end.
            BundleError: The file is missing or has a wrong hash.
        """
        entry = self.entry(backend)
        return entry, verified(self.folder, entry)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A folder with a valid contract (for a policy or a set) and the files that it names."""

    path: Path
    contract: HostedContract
    content: bytes
    """Bytes of `policy.yaml` or `set.yaml`, read once, then checked, hashed and parsed."""
    sha256: str = field(init=False)
    """SHA-256 of `content`, which contains the hashes of all other files."""
    signed_by: str | None = None
    """Fingerprint of the trusted key that signed `content`; None if no signature was required."""
    members: Mapping[str, AnyBundle] = field(default_factory=dict)
    """Bundles of a set's members, by member name; empty for a policy."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    @property
    def file(self) -> Path:
        """Path of the contract file."""
        return self.path / hosted_file(self.contract)

    @property
    def models(self) -> tuple[ModelFiles, ...]:
        """The bundle's models, each with one artifact per back end."""
        return tuple(
            ModelFiles(folder=self.path, key=key, model=model)
            for key, model in self.contract.models.items()
        )

    def verify(self, backends: Collection[str] | None = None) -> None:
        """Verify the files that the contract names: models, golden rows, statistics, reports.

        An ONNX model must contain all its weights, since the hash would not cover a separate file,
        and the contract must declare its control flow, since a loop may never end.

        Args:
            backends: Back ends whose models must be present; None for all. Models for other
                back ends are not verified and may be missing.

        Raises:
            BundleError: Lists every file that is missing, has a wrong hash, or is an ONNX model
                with external weights or undeclared control flow.
        """
        from policy_core import onnx_file

        problems = list[Problem]()
        models = _onnx_models(self.contract)
        for entry in {entry.file: entry for entry in _entries(self.contract, backends)}.values():
            try:
                if entry.file in models:
                    content = verified_bytes(self.path, entry, onnx_file.LARGEST_BYTES)
                    problem = onnx_file.find_model_problem(
                        self.path / entry.file, content, is_declared=models[entry.file]
                    )
                    problems += [problem] if problem else []
                else:
                    verified(self.path, entry)
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(*problems)

    def report(self, name: str) -> Mapping[str, Any] | None:
        """Return the content of `reports/NAME.json`; None if the contract does not name it.

        Raises:
            BundleError: The file is missing, has a wrong hash, or does not contain a report.
        """
        place = f"{REPORT_FOLDER}/{name}.json"
        entry = next((one for one in self.contract.reports.values() if one.file == place), None)
        if entry is None:
            return None
        text = verified_bytes(self.path, entry)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            content = str(error)
        if not isinstance(content, dict):
            raise BundleError(
                Problem(
                    file=str(self.path / place),
                    found=str(content)[:80],
                    expected="a report, a mapping in JSON",
                )
            )
        return content


B = TypeVar("B", bound=Bundle)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnyBundle(Bundle, ABC):
    """Bundle of a single policy of any kind."""

    contract: AnyContract

    @classmethod
    def read(
        cls, path: Path, contract: Any, content: bytes, signed_by: str | None = None
    ) -> AnyBundle:
        """Return the bundle in a folder, with all arrays that a run needs, but open no models.

        Args:
            path: The folder.
            contract: The bundle's contract, of this kind.
            content: Content of `policy.yaml`.
            signed_by: See `Bundle.signed_by`.

        Raises:
            BundleError: A file is missing or has a wrong hash.
        """
        return cls(path=path, contract=contract, content=content, signed_by=signed_by)

    @abstractmethod
    def golden(self) -> dict[str, Tensor]:
        """Return the models' golden rows [rows, ...]; empty for a policy without a model.

        Raises:
            BundleError: The golden rows are missing, have a wrong hash, or lack arrays for the
                models' inputs and outputs.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointBundle(AnyBundle):
    """Bundle of a joint policy; the hashes of its normalization files have been checked."""

    contract: JointContract
    statistics: Mapping[str, tuple[F64, F64]]
    """Mean and divisor [input size] for each normalized model input."""
    clip: MotionClip | None = None
    """Clip of the motion that the policy tracks."""
    initial_state: Mapping[str, Tensor] = field(default_factory=dict)
    """Initial values by recurrent state input, in model shapes; inputs not listed start at zero."""

    @classmethod
    def read(
        cls, path: Path, contract: JointContract, content: bytes, signed_by: str | None = None
    ) -> JointBundle:
        """Return the bundle with its statistics and clip; see `AnyBundle.read`."""
        statistics = {
            key: read_statistics(path, observation.normalisation, contract.model.inputs[key].shape)
            for key, observation in contract.observations.items()
            if observation.normalisation
        }
        clip = None
        if contract.motion is not None and contract.motion.clip is not None:
            from policy_core.bundle.clip import read_clip

            clip = read_clip(path, contract)
        initial_state = read_initial_state(path, contract) if contract.initial_state else {}
        return cls(
            path=path,
            contract=contract,
            content=content,
            signed_by=signed_by,
            statistics=statistics,
            clip=clip,
            initial_state=initial_state,
        )

    def entry(self, backend: str) -> Artifact:
        """Return the contract entry for a back end; see `ModelFiles.entry`."""
        return self.models[0].entry(backend)

    def artifact(self, backend: str) -> tuple[Artifact, Path]:
        """Return a back end's contract entry and file; see `ModelFiles.artifact`."""
        return self.models[0].artifact(backend)

    def golden(self) -> dict[str, Tensor]:
        """Return the golden rows for every model input and output [rows, *shape without batch].

        Raises:
            BundleError: The golden rows are missing, have a wrong hash, or lack these arrays.
        """
        model = self.contract.model
        shapes = {
            name: row_shape(tensor.shape)
            for name, tensor in {**model.inputs, **model.outputs}.items()
        }
        entry = golden_entry(
            self.path,
            model.golden,
            "model.golden",
            f"`model_tools complete {self.path} --output FOLDER` makes a bundle that has them",
        )
        return read_rows(self.path, entry, shapes)


def list_policies(bundle: Bundle) -> tuple[AnyBundle, ...]:
    """Return the policies in a bundle: the members of a set, or the single policy."""
    if bundle.members:
        return tuple(bundle.members.values())
    assert isinstance(bundle, AnyBundle)
    return (bundle,)


def stated_hashes(
    contract: HostedContract, backends: Collection[str] | None = None
) -> dict[str, str]:
    """Return the SHA-256 of every file that a contract names, by file name.

    For a set, the files are its members' contracts and all files named in those contracts.

    Args:
        contract: The contract.
        backends: Back ends whose models are included; None for all.
    """
    if contract.kind == "set":
        return {
            f"{member.folder}/{name}": sha256
            for member in cast("SetContract", contract).members.values()
            for name, sha256 in {
                CONTRACT_FILE: member.sha256,
                **stated_hashes(member.contract, backends),
            }.items()
        }
    return {entry.file: entry.sha256 for entry in _entries(contract, backends)}


def hosted_file(contract: HostedContract) -> str:
    """Return the file name for a contract: `policy.yaml` or `set.yaml`."""
    return SET_FILE if contract.kind == "set" else CONTRACT_FILE


def model_sha256(contract: AnyContract, backend: str) -> str | None:
    """Return the hash that identifies a back end's model, or None if there is no such artifact."""
    hashes = [
        model.artifacts[backend].sha256
        for model in contract.models.values()
        if backend in model.artifacts
    ]
    return joint_hash(hashes) if hashes else None


def served_name(contract: AnyContract, key: str) -> str:
    """Return a model's name on a model server.

    The name consists of the policy name and, if there are several graphs, the graph name.
    """
    several = len(contract.models) > 1
    return f"{contract.name}_{key.removeprefix('graphs.')}" if several else contract.name


def joint_hash(hashes: Sequence[str]) -> str:
    """Return one hash that identifies all files of a model.

    For several graphs, this is the hash of their hashes in the contract's order.
    """
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def file_entry(file: Path, folder: Path) -> File:
    """Return the contract entry for a file in the bundle folder."""
    return File(file=str(file.relative_to(folder)), sha256=sha256_file(file))


def _entries(
    contract: HostedContract, backends: Collection[str] | None
) -> list[Artifact | File | Normalisation]:
    return [
        *(
            artifact
            for model in contract.models.values()
            for backend, artifact in model.artifacts.items()
            if backends is None or backend in backends
        ),
        # For all back ends: an encoder's back end is chosen in the process that runs the encoder.
        *(
            artifact
            for encoder in contract.encoders.values()
            for artifact in encoder.artifacts.values()
        ),
        *contract.reports.values(),
        *contract.files,
    ]


def _onnx_models(contract: HostedContract) -> dict[str, bool]:
    """Return whether the contract declares control flow, for each ONNX file."""
    artifacts = [
        artifact
        for model in (*contract.models.values(), *contract.encoders.values())
        for backend, artifact in model.artifacts.items()
        if is_onnx(backend, artifact)
    ]
    declared = {artifact.file for artifact in artifacts if artifact.control_flow is not None}
    return {artifact.file: artifact.file in declared for artifact in artifacts}


def is_onnx(backend: str, artifact: Artifact) -> bool:
    """Return whether a back end's artifact is an ONNX model."""
    return backend == "onnx" or artifact.file.endswith(".onnx")


def golden_entry(folder: Path, entry: File | None, key: str, remedy: str) -> File:
    """Return the contract entry for the golden rows, or raise an error that names the remedy.

    Raises:
        BundleError: The contract has no golden rows.
    """
    if entry is None:
        raise BundleError(
            Problem(
                file=str(folder / CONTRACT_FILE),
                key=key,
                remedy=remedy,
                expected="a file of golden vectors",
                found="nothing",
            )
        )
    return entry
