# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle that was loaded: its contract, and its files as they are asked for."""

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

if TYPE_CHECKING:  # a policy without a clip, outside of a set, needs neither
    from policy_core.bundle.clip import MotionClip
    from policy_core.bundle.set_contract import HostedContract, SetContract

CONTRACT_FILE, SET_FILE, REPORT_FOLDER = "policy.yaml", "set.yaml", "reports"
SIGNATURE_FILE = f"{CONTRACT_FILE}.sig"
"""Over the contract's bytes, where a bundle is signed; `bundle.signature` has more."""
HOSTED_FILES = (CONTRACT_FILE, SET_FILE)
"""One of them says what a folder holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model of a bundle: its entry in the contract, and where its files are."""

    folder: Path
    key: str
    """In the contract: `model`, `graphs.NAME`."""
    model: Graph

    def entry(self, backend: str) -> Artifact:
        """Return the contract's entry for a back end's file.

        Raises:
            BackendError: There is no artifact for this backend.
        """
        artifacts = self.model.artifacts
        if backend not in artifacts:
            of = "" if self.key == "model" else f" in {self.key}"
            raise BackendError(
                f"{self.folder / CONTRACT_FILE}: no artifact for the backend {backend!r}{of}; "
                f"this bundle has {', '.join(artifacts)}; compile one (`model_tools compile`), or "
                "choose another back end"
            )
        return artifacts[backend]

    def artifact(self, backend: str) -> tuple[Artifact, Path]:
        """Return the entry and the file of a backend, verified now.

        What is opened on a robot is a copy, of which no byte can change after it was hashed:
        `policy_core.bundle.verified.verified_copy`.

        Raises:
            BackendError: There is no artifact for this backend.
            BundleError: The file is missing or is not the one the contract means.
        """
        entry = self.entry(backend)
        return entry, verified(self.folder, entry)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A folder with a contract that holds and the files that it names: of a policy, or of a set."""

    path: Path
    contract: HostedContract
    content: bytes
    """Of `policy.yaml` or `set.yaml`, as it was read, once: checked, hashed and parsed."""
    sha256: str = field(init=False)
    """SHA-256 of that, which holds the hashes of all other files."""
    signed_by: str | None = None
    """Fingerprint of the trusted key that signed that; None where none was asked for."""
    members: Mapping[str, AnyBundle] = field(default_factory=dict)
    """Bundles of the members of a set, by their names in it; a policy has none."""

    def __post_init__(self) -> None:
        """Hash the content."""
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    @property
    def file(self) -> Path:
        """The file of the contract."""
        return self.path / hosted_file(self.contract)

    @property
    def models(self) -> tuple[ModelFiles, ...]:
        """Its models, of which each has an artifact per back end."""
        return tuple(
            ModelFiles(folder=self.path, key=key, model=model)
            for key, model in self.contract.models.items()
        )

    def verify(self, backends: Collection[str] | None = None) -> None:
        """Verify every file that the contract names: models, golden rows, statistics, reports.

        An ONNX model must hold all its weights: a hash covers no second file.

        Args:
            backends: Whose models are here; None for those of all. A bundle without the models of
                other back ends is whole for these.

        Raises:
            BundleError: With every file that is missing or is not the one the contract means, and
                every ONNX model with weights in a second file.
        """
        from policy_core import onnx_file

        problems = list[Problem]()
        models = _onnx_models(self.contract)
        for entry in {entry.file: entry for entry in _entries(self.contract, backends)}.values():
            try:
                if entry.file in models:
                    content = verified_bytes(self.path, entry, onnx_file.LARGEST_BYTES)
                    problem = onnx_file.find_model_problem(self.path / entry.file, content)
                    problems += [problem] if problem else []
                else:
                    verified(self.path, entry)
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(*problems)

    def report(self, name: str) -> Mapping[str, Any] | None:
        """Return what `reports/NAME.json` says; None where the contract names no such report.

        Raises:
            BundleError: The file is missing, is not the one the contract means, or is no report.
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
    """The bundle of one policy, of whatever kind."""

    contract: AnyContract

    @classmethod
    def read(
        cls, path: Path, contract: Any, content: bytes, signed_by: str | None = None
    ) -> AnyBundle:
        """Return the bundle in a folder, with the arrays that a run needs beside the models.

        Args:
            path: The folder.
            contract: Its contract, of this kind.
            content: Of `policy.yaml`.
            signed_by: As `Bundle.signed_by`.

        Raises:
            BundleError: A file is missing, or is not the one that the contract means.
        """
        return cls(path=path, contract=contract, content=content, signed_by=signed_by)

    @abstractmethod
    def golden(self) -> dict[str, Tensor]:
        """Return the golden rows of its models [rows, ...]; none for a policy without a model.

        Raises:
            BundleError: The bundle has none, not with the hash that it states, or not with the
                arrays that its models take and return.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointBundle(AnyBundle):
    """A joint policy's bundle, whose normalisation files have their hashes."""

    contract: JointContract
    statistics: Mapping[str, tuple[F64, F64]]
    """Mean and divisor [input size] for each model input that is normalised."""
    clip: MotionClip | None = None
    """Of the motion that the policy tracks."""
    initial_state: Mapping[str, Tensor] = field(default_factory=dict)
    """First values of inputs of recurrent states, in their shapes; of the others they are zeros."""

    @classmethod
    def read(
        cls, path: Path, contract: JointContract, content: bytes, signed_by: str | None = None
    ) -> JointBundle:
        """Return the bundle with its statistics and its clip, as `AnyBundle.read`."""
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
        """Return the contract's entry for a back end's model, as `ModelFiles.entry`."""
        return self.models[0].entry(backend)

    def artifact(self, backend: str) -> tuple[Artifact, Path]:
        """Return the entry and the file of a backend's model, as `ModelFiles.artifact`."""
        return self.models[0].artifact(backend)

    def golden(self) -> dict[str, Tensor]:
        """Return the golden rows of every model input and output, [rows, *shape without batch].

        Raises:
            BundleError: The bundle has none, not with the hash that it states, or not with these
                arrays.
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
    """Return the policies of a bundle: the members of a set, or the one that it is."""
    if bundle.members:
        return tuple(bundle.members.values())
    assert isinstance(bundle, AnyBundle)
    return (bundle,)


def stated_hashes(
    contract: HostedContract, backends: Collection[str] | None = None
) -> dict[str, str]:
    """Return the SHA-256 of every file that a contract names, by the file's name.

    Of a set these are the contracts of its members, and the files that those name.

    Args:
        contract: The contract.
        backends: Whose models are among them; None for those of all.
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
    """Return the name of the file that a contract is written in."""
    return SET_FILE if contract.kind == "set" else CONTRACT_FILE


def model_sha256(contract: AnyContract, backend: str) -> str | None:
    """Return the hash that stands for a back end's model, None where there is no such artifact."""
    hashes = [
        model.artifacts[backend].sha256
        for model in contract.models.values()
        if backend in model.artifacts
    ]
    return joint_hash(hashes) if hashes else None


def served_name(contract: AnyContract, key: str) -> str:
    """Return what a model server calls the model that has this key in the contract.

    It is the policy's name; of several graphs with that of the graph after it.
    """
    several = len(contract.models) > 1
    return f"{contract.name}_{key.removeprefix('graphs.')}" if several else contract.name


def joint_hash(hashes: Sequence[str]) -> str:
    """Return the hash that stands for the files of a model.

    Of several graphs it is that of their hashes, one after another in the contract's order.
    """
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def file_entry(file: Path, folder: Path) -> File:
    """Return the contract's entry for a file that lies in the bundle folder."""
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
        # Whose back ends are chosen where they run, in another process than the policy.
        *(
            artifact
            for encoder in contract.encoders.values()
            for artifact in encoder.artifacts.values()
        ),
        *contract.reports.values(),
        *contract.files,
    ]


def _onnx_models(contract: HostedContract) -> set[str]:
    """Return the files that a runtime reads as ONNX."""
    return {
        artifact.file
        for model in (*contract.models.values(), *contract.encoders.values())
        for backend, artifact in model.artifacts.items()
        if backend == "onnx" or artifact.file.endswith(".onnx")
    }


def golden_entry(folder: Path, entry: File | None, key: str, remedy: str) -> File:
    """Return the entry of the golden rows.

    Raises:
        BundleError: There is none.
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
