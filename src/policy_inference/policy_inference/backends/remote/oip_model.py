# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifact for the `oip` back end: the model that a server must have, and rows to verify it.

An npz file: `remote`, the bytes of a JSON mapping, and for each tensor, `inputs.NAME` or
`outputs.NAME` [rows, *shape], computed with the reference model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.arrays import unpacked_arrays
from policy_core.bundle.verified import LARGEST_BYTES
from policy_core.errors import BackendError, BundleError
from policy_core.interfaces import Tensor
from policy_core.safe_files import read_at_most

_REMOTE, _INPUTS, _OUTPUTS = "remote", "inputs.", "outputs."
_REMEDY = "make it with `model_tools compile oip`"


@dataclass(frozen=True, slots=True, kw_only=True)
class OipModel:
    """The model that a server must provide.

    Attributes:
        model: Model name on the server.
        version: Model version on the server; empty to let the server choose.
        sha256: Hash of the model file, for servers that report it.
        tolerance: Maximum difference between an output and its reference rows, relative to the
            output's largest value.
        endpoint: HOST:PORT used if the `endpoint` option is not set; if empty, the option is
            required.
    """

    model: str
    version: str = ""
    sha256: str = ""
    tolerance: float = 1e-3
    endpoint: str = ""


def write_oip_model(
    file: Path, model: OipModel, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Write an `oip` artifact.

    Args:
        file: File to write.
        model: The model that a server must provide.
        inputs: Input rows by tensor [rows, *shape].
        outputs: Reference outputs, in the same form.

    Raises:
        OSError: The file cannot be written.
    """
    arrays: dict[str, Any] = {
        _REMOTE: np.frombuffer(json.dumps(asdict(model)).encode(), np.uint8),
        **{f"{_INPUTS}{name}": rows for name, rows in inputs.items()},
        **{f"{_OUTPUTS}{name}": rows for name, rows in outputs.items()},
    }
    with file.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_oip_model(file: Path) -> tuple[OipModel, dict[str, Tensor], dict[str, Tensor]]:
    """Return the model that a server must provide, and its input and output rows, by name.

    Raises:
        BackendError: The file is not an `oip` artifact.
    """
    try:
        arrays = unpacked_arrays(file, read_at_most(file, LARGEST_BYTES), None, LARGEST_BYTES)
    except OSError as error:
        raise BackendError(f"{file}: expected a file, found {error.strerror}; {_REMEDY}") from error
    except BundleError as error:
        raise BackendError(f"{error}; {_REMEDY}") from error
    if not arrays.keys() > {_REMOTE} or not all(_fits(name, rows) for name, rows in arrays.items()):
        raise BackendError(
            f"{file}: expected the arrays {_REMOTE}, {_INPUTS}NAME and {_OUTPUTS}NAME of numbers, "
            f"found {', '.join(arrays) or 'none'}; {_REMEDY}"
        )
    model = _model(file, arrays.pop(_REMOTE).tobytes())
    inputs, outputs = (
        {name.removeprefix(part): rows for name, rows in arrays.items() if name.startswith(part)}
        for part in (_INPUTS, _OUTPUTS)
    )
    if len({len(rows) for rows in arrays.values()}) != 1 or not inputs or not outputs:
        raise BackendError(
            f"{file}: expected inputs and outputs with the same number of rows, found "
            + ", ".join(f"{name} {len(rows)}" for name, rows in arrays.items())
            + f"; {_REMEDY}"
        )
    return model, inputs, outputs


def _fits(name: str, array: Tensor) -> bool:
    if name == _REMOTE:
        return array.dtype == np.uint8
    return array.dtype.kind in "fiu" and array.ndim > 1 and name.startswith((_INPUTS, _OUTPUTS))


def _model(file: Path, text: bytes) -> OipModel:
    try:
        found: Any = json.loads(text)
        return OipModel(**{one.name: _value(one.name, found) for one in fields(OipModel)})
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise BackendError(
            f"{file}: {_REMOTE}: expected {', '.join(one.name for one in fields(OipModel))}, found "
            f"{text[:200].decode('utf-8', 'replace')!r} ({error}); {_REMEDY}"
        ) from error


def _value(name: str, found: Any) -> Any:
    value, kind = found[name], float if name == "tolerance" else str
    if not isinstance(value, kind):
        raise TypeError(f"{name} is not of type {kind.__name__}")
    return value
