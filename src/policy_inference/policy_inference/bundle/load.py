# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open a bundle folder: read and check `policy.yaml`, verify hashes, load its arrays."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policy_inference.bundle.contract import Artifact, File, JointContract, Normalisation
from policy_inference.bundle.contract import Tensor as TensorEntry
from policy_inference.bundle.schema import Found, Reader, parse_yaml, read_bytes
from policy_inference.bundle.validate import validate
from policy_inference.errors import BackendError, BundleError, Problem
from policy_inference.interfaces import F64, Tensor

if TYPE_CHECKING:  # only one who has keys needs the library that checks signatures
    from policy_inference.bundle.signature import TrustedKeys

CONTRACT_FILE, REPORT_FOLDER = "policy.yaml", "reports"
SIGNATURE_FILE = f"{CONTRACT_FILE}.sig"
"""Over the contract's bytes, where a bundle is signed; `bundle.signature` has more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A bundle whose contract holds and whose normalisation files have their hashes."""

    path: Path
    contract: JointContract
    sha256: str
    """SHA-256 of `policy.yaml`, which holds the hashes of all other files."""
    statistics: Mapping[str, tuple[F64, F64]]
    """Mean and divisor [input size] for each model input that is normalised."""
    signed_by: str | None = None
    """Fingerprint of the trusted key that signed `policy.yaml`; None where none was asked for."""

    def artifact(self, backend: str) -> tuple[Artifact, Path]:
        """Return the entry and the verified file of a backend's model.

        Raises:
            BackendError: The bundle has no artifact for this backend.
            BundleError: The file is missing or is not the one the contract means.
        """
        artifacts = self.contract.model.artifacts
        if backend not in artifacts:
            raise BackendError(
                f"{self.path / CONTRACT_FILE}: no artifact for the backend {backend!r}; "
                f"this bundle has {', '.join(artifacts)}; compile one (`model_tools compile`), or "
                "choose another back end"
            )
        entry = artifacts[backend]
        return entry, _verified(self.path, entry.file, entry.sha256, _source(entry.url))

    def verify(self) -> None:
        """Verify every file that the contract names: all back ends' models, golden rows, reports.

        Raises:
            BundleError: With every file that is missing or is not the one the contract means.
        """
        problems = list[Problem]()
        urls = {entry.file: entry.url for entry in self.contract.model.artifacts.values()}
        for name, sha256 in stated_hashes(self.contract).items():
            try:
                _verified(self.path, name, sha256, _source(urls.get(name)))
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(problems)

    def golden(self) -> dict[str, Tensor]:
        """Return the golden rows of every model input and output, [rows, *shape without batch].

        Raises:
            BundleError: The bundle has none, not with the hash that it states, or not with these
                arrays.
        """
        golden = self.contract.model.golden
        if golden is None:
            problem = Problem(file=str(self.path / CONTRACT_FILE), key="model.golden",
                              expected="a file of golden vectors", found="nothing",
                              remedy=f"`model_tools complete {self.path} --output FOLDER` makes a "
                                     "bundle that has them")
            raise BundleError([problem])
        file, model = _verified(self.path, golden.file, golden.sha256), self.contract.model
        return _rows(file, {**model.inputs, **model.outputs})

    def report(self, name: str) -> Mapping[str, Any] | None:
        """Return what `reports/NAME.json` says; None where the contract names no such report.

        Raises:
            BundleError: The file is missing, is not the one the contract means, or is no report.
        """
        place = f"{REPORT_FOLDER}/{name}.json"
        entry = next((one for one in self.contract.reports.values() if one.file == place), None)
        if entry is None:
            return None
        file = _verified(self.path, entry.file, entry.sha256)
        try:
            content = json.loads(file.read_bytes())
        except ValueError as error:
            content = str(error)
        if not isinstance(content, dict):
            raise BundleError([Problem(file=str(file), expected="a report, a mapping in JSON",
                                       found=str(content)[:80])])
        return content


def load_bundle(path: Path, trusted: TrustedKeys | None = None) -> Bundle:
    """Read and check a bundle folder; model files are verified when a backend asks for them.

    Args:
        path: The folder.
        trusted: The keys of which one must have signed `policy.yaml`; None needs no signature.
            What is parsed is what was checked: the file is read once.

    Raises:
        BundleError: With everything that is wrong, or that there is no such signature.
    """
    file = path / CONTRACT_FILE
    if not path.is_dir():
        raise BundleError([Problem(file=str(path), expected="a bundle folder", found="nothing"
                                   if not path.exists() else "a file")])
    content = read_bytes(file)
    signed_by = None if trusted is None else trusted.signer(file, content)
    contract = parse_contract(content, file)
    statistics = {
        key: _statistics(path, observation.normalisation, contract.model.inputs[key].shape)
        for key, observation in contract.observations.items()
        if observation.normalisation
    }
    return Bundle(path=path, contract=contract, sha256=hashlib.sha256(content).hexdigest(),
                  statistics=statistics, signed_by=signed_by)


def read_contract(file: Path) -> JointContract:
    """Read and check a `policy.yaml` without looking at the files it names.

    Raises:
        BundleError: With everything that is wrong.
    """
    return parse_contract(read_bytes(file), file)


def parse_contract(content: bytes, file: object) -> JointContract:
    """Check the content of a `policy.yaml` that was read already; `file` is for messages.

    Raises:
        BundleError: With everything that is wrong.
    """
    reader = Reader(str(file))
    contract = reader.section(JointContract, parse_yaml(content, file))
    if contract is not None:
        validate(contract, reader)
    if reader.problems:
        raise BundleError(reader.problems)
    return contract  # type: ignore[no-any-return]  # a section without problems is a contract


def stated_hashes(contract: JointContract) -> dict[str, str]:
    """Return the SHA-256 of every file that a contract names, by the file's name."""
    normalised = (one.normalisation for one in contract.observations.values())
    files = (*contract.model.artifacts.values(), contract.model.golden,
             *contract.reports.values(), *normalised)  # fmt: skip
    return {file.file: file.sha256 for file in files if file is not None}


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_entry(file: Path, folder: Path) -> File:
    """Return the contract's entry for a file that lies in the bundle folder."""
    return File(file=str(file.relative_to(folder)), sha256=sha256_of(file))


def _source(url: str | None) -> str:
    return f"get it from {url}" if url else ""


def _verified(folder: Path, name: str, sha256: str, remedy: str = "") -> Path:
    file = folder / name
    if not file.is_file():
        raise BundleError([Problem(file=str(file), expected="the file that policy.yaml names",
                                   found="a folder" if file.is_dir() else "nothing",
                                   remedy=remedy)])
    actual = sha256_of(file)
    if actual != sha256:
        raise BundleError([Problem(file=str(file), expected=f"sha256 {sha256}", found=actual,
                                   remedy="restore the file, or make the bundle anew")])
    return file


def _statistics(
    folder: Path, normalisation: Normalisation, shape: tuple[int, ...]
) -> tuple[F64, F64]:
    file, size = _verified(folder, normalisation.file, normalisation.sha256), math.prod(shape)
    reader, arrays = Reader(str(file)), _arrays(file)
    for key in ("mean", "std"):
        array = arrays.get(key)
        if array is None or array.size != size or not np.issubdtype(array.dtype, np.number):
            reader.problem(key, f"{size} numbers, as the model's input", _found(array))
        elif not np.isfinite(array).all():
            reader.problem(key, "finite values", Found("NaN or infinite ones"))
        elif key == "std" and bool((array.astype(np.float64) < 0).any()):
            reader.problem(key, "values >= 0", Found(f"{array.min():g}"))
    if reader.problems:
        raise BundleError(reader.problems)
    mean, std = (arrays[key].astype(np.float64).ravel() for key in ("mean", "std"))
    return mean, np.maximum(std, normalisation.std_floor)


def _rows(file: Path, tensors: Mapping[str, TensorEntry]) -> dict[str, Tensor]:
    """Return an array for each tensor, all with as many rows as the first."""
    reader, arrays = Reader(str(file)), _arrays(file)
    rows = next((len(a) for a in map(arrays.get, tensors) if a is not None and a.ndim), 0)
    for name, tensor in tensors.items():
        array, shape = arrays.get(name), (rows, *tensor.shape[1:])
        if array is None or not rows or array.shape != shape:
            reader.problem(name, f"an array {[rows or 'rows', *shape[1:]]}", _found(array))
    if reader.problems:
        raise BundleError(reader.problems)
    return {name: arrays[name] for name in tensors}


def _arrays(file: Path) -> dict[str, Tensor]:
    found = "no zip archive"
    if zipfile.is_zipfile(file):
        try:
            with np.load(file) as data:
                return {key: np.asarray(data[key]) for key in data.files}
        # MemoryError: a broken header may ask for more than there is.
        except (
            OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            found = str(error) or type(error).__name__
    raise BundleError([Problem(file=str(file), expected="numpy arrays (.npz)", found=found)])


def _found(array: Tensor | None) -> Found:
    return Found("nothing" if array is None else f"{array.dtype}{list(array.shape)}")
