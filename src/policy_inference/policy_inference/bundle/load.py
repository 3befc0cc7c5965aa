# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open a bundle folder: read and check `policy.yaml`, verify hashes, load its arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from policy_inference.bundle.arrays import check_observations, read_rows, read_statistics
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
)
from policy_inference.bundle.contract import Artifact, File, Graph, JointContract, Normalisation
from policy_inference.bundle.joint_values import pattern_characters
from policy_inference.bundle.schema import Reader, parse_yaml, read_bytes
from policy_inference.bundle.validate import validate
from policy_inference.bundle.validate_chunk import validate_chunk
from policy_inference.bundle.verified import sha256_of, verified, verified_bytes
from policy_inference.errors import BackendError, BundleError, Problem
from policy_inference.interfaces import F64, Tensor

if TYPE_CHECKING:  # only one who has keys needs the library that checks signatures
    from policy_inference.bundle.signature import TrustedKeys

CONTRACT_FILE, REPORT_FOLDER = "policy.yaml", "reports"
SIGNATURE_FILE = f"{CONTRACT_FILE}.sig"
"""Over the contract's bytes, where a bundle is signed; `bundle.signature` has more."""

MOST_PATTERN_CHARACTERS = 4096
"""Of the distinct patterns of joints in a contract."""
B = TypeVar("B", "Bundle", "ChunkBundle")
AnyContract = JointContract | ChunkContract
_NODES = {"joint": "joint_policy_node", "chunk": "act_policy_node"}
"""By the kind of a contract: what runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model of a bundle: what the contract says of it, and where its files are."""

    folder: Path
    key: str
    """In the contract: `model`, `graphs.NAME`."""
    model: Graph

    def entry(self, backend: str) -> Artifact:
        """Return what the contract says of a backend's file.

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
        `policy_inference.bundle.verified.verified_copy`.

        Raises:
            BackendError: There is no artifact for this backend.
            BundleError: The file is missing or is not the one the contract means.
        """
        entry = self.entry(backend)
        return entry, verified(self.folder, entry)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BundleFolder:
    """What the bundles of both kinds of policies have: a contract that holds, and files."""

    path: Path
    contract: AnyContract
    content: bytes
    """Of `policy.yaml`, as it was read, once: checked, hashed and parsed."""
    sha256: str = field(init=False)
    """SHA-256 of that, which holds the hashes of all other files."""
    signed_by: str | None = None
    """Fingerprint of the trusted key that signed `policy.yaml`; None where none was asked for."""

    def __post_init__(self) -> None:
        """Hash the content."""
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())

    @property
    def models(self) -> tuple[ModelFiles, ...]:
        """Its models, of which each has an artifact per back end."""
        return tuple(ModelFiles(folder=self.path, key=key, model=model)
                     for key, model in self.contract.models.items())

    def verify(self) -> None:
        """Verify every file that the contract names: all back ends' models, golden rows, reports.

        Raises:
            BundleError: With every file that is missing or is not the one the contract means.
        """
        problems = list[Problem]()
        for entry in {entry.file: entry for entry in _entries(self.contract)}.values():
            try:
                verified(self.path, entry)
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(problems)

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
            raise BundleError([Problem(file=str(self.path / place), found=str(content)[:80],
                                       expected="a report, a mapping in JSON")])
        return content


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle(BundleFolder):
    """A joint policy's bundle, whose normalisation files have their hashes."""

    contract: JointContract
    statistics: Mapping[str, tuple[F64, F64]]
    """Mean and divisor [input size] for each model input that is normalised."""

    def entry(self, backend: str) -> Artifact:
        """Return what the contract says of a backend's model, as `ModelFiles.entry`."""
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
        shapes = {name: tensor.shape[1:]
                  for name, tensor in {**model.inputs, **model.outputs}.items()}
        entry = _golden_entry(self.path, model.golden, "model.golden",
                             f"`model_tools complete {self.path} --output FOLDER` makes a bundle "
                             "that has them")
        return read_rows(self.path, entry, shapes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkBundle(BundleFolder):
    """A chunk policy's bundle."""

    contract: ChunkContract

    def golden(self) -> dict[str, Tensor]:
        """Return rows of observations and of the chunks that the reference answered.

        Pictures are uint8 [rows, height, width, 3] in RGB under `cameras.NAME`; `state`,
        `environment_state` and `chunk` [rows, steps, actions] are in the policy's own units.

        Raises:
            BundleError: As `Bundle.golden`.
        """
        contract = self.contract
        shapes: dict[str, tuple[int, ...]] = {
            f"{GOLDEN_CAMERA}{name}": (camera.height, camera.width, 3)
            for name, camera in contract.cameras.items()}
        if contract.state:
            shapes[GOLDEN_STATE] = (len(contract.state.joints),)
        if contract.environment_state:
            shapes[GOLDEN_ENVIRONMENT] = (contract.environment_state.size,)
        shapes[GOLDEN_CHUNK] = (contract.chunk.size, len(contract.action.joints))
        entry = _golden_entry(self.path, contract.golden, "golden",
                             "`model_tools export act` writes a bundle that has them")
        rows = read_rows(self.path, entry, shapes)
        check_observations(self.path / entry.file, rows, GOLDEN_CAMERA)
        return rows


def load_bundle(
    path: Path, trusted: TrustedKeys | None = None, *, instead: str = ""
) -> Bundle:
    """Read and check the bundle folder of a joint policy, as `load_any_bundle`.

    Args:
        path: The folder.
        trusted: As for `load_any_bundle`.
        instead: What to do with a policy of another kind, in the words of an error.

    Raises:
        BundleError: As there, or the policy is of another kind.
    """
    return of_kind(load_any_bundle(path, trusted), Bundle, instead)


def load_chunk_bundle(path: Path, trusted: TrustedKeys | None = None) -> ChunkBundle:
    """Read and check the bundle folder of a chunk policy, as `load_any_bundle`.

    Raises:
        BundleError: As there, or the policy is of another kind.
    """
    return of_kind(load_any_bundle(path, trusted), ChunkBundle)


def load_any_bundle(
    path: Path, trusted: TrustedKeys | None = None, *, sha256: str | None = None
) -> Bundle | ChunkBundle:
    """Read and check a bundle folder; model files are verified when a backend asks for them.

    Args:
        path: The folder.
        trusted: The keys of which one must have signed `policy.yaml`; None needs no signature.
            What is parsed is what was checked: the file is read once.
        sha256: Of the contract that is meant; None takes any.

    Raises:
        BundleError: With everything that is wrong, or that there is no such signature.
    """
    file = path / CONTRACT_FILE
    if not path.is_dir():
        raise BundleError([Problem(file=str(path), expected="a bundle folder", found="nothing"
                                   if not path.exists() else "a file")])
    content = read_bytes(file)
    if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
        raise BundleError([Problem(file=str(file), expected=f"sha256 {sha256}, as just before",
                                   found=found, remedy="load it again once nobody writes to it")])
    signed_by = None if trusted is None else trusted.signer(file, content)
    contract = parse_any_contract(content, file)
    if isinstance(contract, ChunkContract):
        return ChunkBundle(path=path, contract=contract, content=content, signed_by=signed_by)
    statistics = {
        key: read_statistics(path, observation.normalisation, contract.model.inputs[key].shape)
        for key, observation in contract.observations.items()
        if observation.normalisation
    }
    return Bundle(path=path, contract=contract, content=content,
                  statistics=statistics, signed_by=signed_by)


def of_kind(bundle: Bundle | ChunkBundle, kind: type[B], instead: str = "") -> B:
    """Return a bundle that must be of a kind; `instead` says what to do with one of another.

    Raises:
        BundleError: It is of another one.
    """
    if isinstance(bundle, kind):
        return bundle
    raise _other_kind(bundle.path / CONTRACT_FILE, bundle.contract, instead)


def read_contract(file: Path, *, instead: str = "") -> JointContract:
    """Read and check a joint policy's `policy.yaml` without looking at the files it names.

    Raises:
        BundleError: With everything that is wrong; `instead` is as for `load_bundle`.
    """
    contract = parse_any_contract(read_bytes(file), file)
    if isinstance(contract, ChunkContract):
        raise _other_kind(file, contract, instead)
    return contract


def read_any_contract(file: Path) -> AnyContract:
    """Read and check a `policy.yaml` without looking at the files it names.

    Raises:
        BundleError: With everything that is wrong.
    """
    return parse_any_contract(read_bytes(file), file)


def parse_any_contract(content: bytes, file: object) -> AnyContract:
    """Check the content of a `policy.yaml` that was read already; `file` is for messages.

    Raises:
        BundleError: With everything that is wrong.
    """
    reader, value = Reader(str(file)), parse_yaml(content, file)
    if (characters := pattern_characters(value)) > MOST_PATTERN_CHARACTERS:
        raise BundleError([Problem(file=str(file), found=f"{characters}",
                                   expected=f"at most {MOST_PATTERN_CHARACTERS} characters of "
                                   "patterns", remedy="write the joints' names")])
    kind = value.get("kind") if isinstance(value, Mapping) else "joint"
    contract: AnyContract | None = None
    if kind == "chunk":
        chunk: ChunkContract | None = reader.section(ChunkContract, value)
        if chunk is not None:
            validate_chunk(chunk, reader)
        contract = chunk
    elif kind in ("joint", None):
        joint: JointContract | None = reader.section(JointContract, value)
        if joint is not None:
            joint = validate(joint, reader)
        contract = joint
    else:
        reader.problem("kind", f"one of {', '.join(_NODES)}", kind)
    if reader.problems:
        raise BundleError(reader.problems)
    assert contract is not None  # a section without problems
    return contract


def _other_kind(file: object, contract: AnyContract, instead: str) -> BundleError:
    wanted = next(kind for kind in _NODES if kind != contract.kind)
    remedy = instead or f"{_NODES[contract.kind]} runs this policy"
    return BundleError([Problem(file=str(file), key="kind", expected=wanted, found=contract.kind,
                                remedy=remedy)])


def stated_hashes(contract: AnyContract) -> dict[str, str]:
    """Return the SHA-256 of every file that a contract names, by the file's name."""
    return {entry.file: entry.sha256 for entry in _entries(contract)}


def model_sha256(contract: AnyContract, backend: str) -> str | None:
    """Return the hash that stands for a back end's model, None where there is no such artifact."""
    hashes = [model.artifacts[backend].sha256 for model in contract.models.values()
              if backend in model.artifacts]
    return joint_hash(hashes) if hashes else None


def joint_hash(hashes: Sequence[str]) -> str:
    """Return the hash that stands for the files of a model.

    Of several graphs it is that of their hashes, one after another in the contract's order.
    """
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def file_entry(file: Path, folder: Path) -> File:
    """Return the contract's entry for a file that lies in the bundle folder."""
    return File(file=str(file.relative_to(folder)), sha256=sha256_of(file))


def _entries(contract: AnyContract) -> list[Artifact | File | Normalisation]:
    entries: list[Artifact | File | Normalisation | None] = [
        *(artifact for model in contract.models.values() for artifact in model.artifacts.values()),
        *contract.reports.values()]
    if isinstance(contract, ChunkContract):
        entries.append(contract.golden)
    else:
        entries.append(contract.model.golden)
        entries += [one.normalisation for one in contract.observations.values()]
    return [entry for entry in entries if entry is not None]


def _golden_entry(folder: Path, entry: File | None, key: str, remedy: str) -> File:
    if entry is None:
        raise BundleError([Problem(file=str(folder / CONTRACT_FILE), key=key, remedy=remedy,
                                   expected="a file of golden vectors", found="nothing")])
    return entry
