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
from typing import Any, TypeVar

from policy_core.bundle.arrays import check_observations, read_rows, read_statistics
from policy_core.bundle.body import AnyContract
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_NOISE,
    GOLDEN_STATE,
    ChunkContract,
)
from policy_core.bundle.clip import MotionClip, read_clip
from policy_core.bundle.contract import Artifact, File, Graph, JointContract, Normalisation
from policy_core.bundle.set_contract import SetContract
from policy_core.bundle.verified import sha256_of, verified, verified_bytes
from policy_core.errors import BackendError, BundleError, Problem
from policy_core.interfaces import F64, Tensor

CONTRACT_FILE, SET_FILE, REPORT_FOLDER = "policy.yaml", "set.yaml", "reports"
SIGNATURE_FILE = f"{CONTRACT_FILE}.sig"
"""Over the contract's bytes, where a bundle is signed; `bundle.signature` has more."""
HOSTED_FILES = (CONTRACT_FILE, SET_FILE)
"""One of them says what a folder holds."""
HostedContract = AnyContract | SetContract
"""Of what a host runs: a policy, or a set of them."""


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
                    problem = onnx_file.problem_of(self.path / entry.file, content)
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
        return cls(
            path=path,
            contract=contract,
            content=content,
            signed_by=signed_by,
            statistics=statistics,
            clip=read_clip(path, contract),
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
            name: tensor.shape[1:] for name, tensor in {**model.inputs, **model.outputs}.items()
        }
        entry = _golden_entry(
            self.path,
            model.golden,
            "model.golden",
            f"`model_tools complete {self.path} --output FOLDER` makes a bundle that has them",
        )
        return read_rows(self.path, entry, shapes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkBundle(AnyBundle):
    """A chunk policy's bundle."""

    contract: ChunkContract

    def golden(self) -> dict[str, Tensor]:
        """Return rows of observations and of the chunks that the reference answered.

        Images are uint8 [rows, height, width, 3] in RGB under `cameras.NAME`; `state`,
        `environment_state` and `chunk` [rows, steps, actions] are in the policy's own units. Where
        a policy gets several observations, they are a second axis, the newest last. `noise` [rows,
        draws, steps, actions] is what chunks are made of, where they are made of noise.

        Raises:
            BundleError: As `JointBundle.golden`.
        """
        contract = self.contract
        shapes: dict[str, tuple[int, ...]] = {
            f"{GOLDEN_CAMERA}{name}": (camera.height, camera.width, 3)
            for name, camera in contract.cameras.items()
        }
        if contract.state:
            shapes[GOLDEN_STATE] = (len(contract.state.joints),)
        if contract.environment_state:
            shapes[GOLDEN_ENVIRONMENT] = (contract.environment_state.size,)
        if contract.observation_steps > 1:
            shapes = {key: (contract.observation_steps, *one) for key, one in shapes.items()}
        if contract.denoising:
            draws = contract.denoising.draws
            shapes[GOLDEN_NOISE] = (draws, contract.rows, contract.columns)
        shapes[GOLDEN_CHUNK] = (contract.chunk.size, len(contract.action.joints))
        entry = _golden_entry(
            self.path,
            contract.golden,
            "golden",
            "`model_tools export act` writes a bundle that has them",
        )
        rows = read_rows(self.path, entry, shapes)
        check_observations(self.path / entry.file, rows, GOLDEN_CAMERA)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetBundle(Bundle):
    """A policy set, whose members' bundles have the contracts that it states."""

    contract: SetContract
    members: Mapping[str, AnyBundle]

    @property
    def models(self) -> tuple[ModelFiles, ...]:
        """The models of all members, by MEMBER.KEY."""
        return tuple(
            ModelFiles(folder=model.folder, key=f"{name}.{model.key}", model=model.model)
            for name, member in self.members.items()
            for model in member.models
        )

    def members_of(self, kind: type[B]) -> dict[str, B]:
        """Return the members of one kind, by their names in the set."""
        return {name: member for name, member in self.members.items() if isinstance(member, kind)}

    def verify(self, backends: Collection[str] | None = None) -> None:
        """Verify every file of all members, as `Bundle.verify`.

        Raises:
            BundleError: With every file that is missing or is not the one that its contract means.
        """
        problems = list[Problem]()
        for member in self.members.values():
            try:
                member.verify(backends)
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(*problems)


def policies_of(bundle: Bundle) -> tuple[AnyBundle, ...]:
    """Return the policies of a bundle: the members of a set, or the one that it is."""
    if isinstance(bundle, SetBundle):
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
    if isinstance(contract, SetContract):
        return {
            f"{member.folder}/{name}": sha256
            for member in contract.members.values()
            for name, sha256 in {
                CONTRACT_FILE: member.sha256,
                **stated_hashes(member.contract, backends),
            }.items()
        }
    return {entry.file: entry.sha256 for entry in _entries(contract, backends)}


def hosted_file(contract: HostedContract) -> str:
    """Return the name of the file that a contract is written in."""
    return SET_FILE if isinstance(contract, SetContract) else CONTRACT_FILE


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
    return File(file=str(file.relative_to(folder)), sha256=sha256_of(file))


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
        *contract.reports.values(),
        *contract.files,
    ]


def _onnx_models(contract: HostedContract) -> set[str]:
    """Return the files that a runtime reads as ONNX."""
    return {
        artifact.file
        for model in contract.models.values()
        for backend, artifact in model.artifacts.items()
        if backend == "onnx" or artifact.file.endswith(".onnx")
    }


def _golden_entry(folder: Path, entry: File | None, key: str, remedy: str) -> File:
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
