# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The models to compile in a bundle: locations, calibration samples and verification rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.observation_sources import open_source
from model_tools.files.onnx_model import read_onnx
from model_tools.files.outputs import BUNDLE_FILES, copy_folder
from model_tools.files.row_files import read_rows
from model_tools.files.terms import EXACT_IN_FLOAT16, last_ticks
from model_tools.prove.calibration.calibrate import refuse_poor, verdict_on
from model_tools.prove.calibration.calibration_files import calibration_samples
from model_tools.prove.calibration.graph_samples import (
    GraphSamples,
    Progress,
    collect_samples,
    sample_count,
)
from model_tools.ship.compilers.compile_request import CompileRequest
from policy_core.bundle.bundle import CONTRACT_FILE, Bundle, JointBundle, stated_hashes
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import Tensor

_ROWS = 512
Samples = Mapping[str, GraphSamples]
"""Calibration samples, by the model's key in the contract."""


class ChunkModels:
    """The graphs of a chunk policy, each in its folder, calibrated with the same observations.

    Attributes:
        owned: Patterns of the files in the folder of a chunk policy's bundle.
    """

    def __init__(self, bundle: ChunkBundle, request: CompileRequest) -> None:
        """Store bundle and request."""
        self._bundle, self._request = bundle, request
        self.owned = (*BUNDLE_FILES, *(f"{name}/*" for name in bundle.contract.graphs))

    def name(self, key: str) -> str:
        """Return the compiler's name for the model with this key in the contract."""
        return key.removeprefix("graphs.")

    def place(self, key: str, model: Path) -> Path:
        """Return the location of a compiled model in a bundle, without precision and suffix."""
        return model.relative_to(self._bundle.path).with_name(self.name(key))

    def require_exact(self, model: Path, precision: str) -> None:
        """Do nothing, because chunk policies have no inputs that count ticks."""

    def samples(self, source: Path | None, progress: Progress) -> Callable[[Path], Samples]:
        """Open the calibration source, if any.

        Args:
            source: A LeRobot dataset or recording; for a joint policy a file or recording.
            progress: Called with the number of samples collected so far.

        Returns:
            A function that collects the samples; its argument is a folder in which it may store
            them.
        """
        if source is None:
            return lambda folder: {}
        bundle, request = self._bundle, self._request
        opened = open_source(bundle.contract, source, request.topics)
        count = sample_count(opened, request.samples)

        def collect(folder: Path) -> Samples:
            found = collect_samples(bundle, opened, count, folder, progress)
            return {f"graphs.{name}": samples for name, samples in found.items()}

        return collect

    def golden(self) -> Mapping[str, Tensor] | None:
        """Return rows to verify a model; None, since golden rows belong to the whole policy."""
        return None

    def copy(self, folder: Path) -> None:
        """Copy the contract and its files, but not a workspace in the folder."""
        for name in (CONTRACT_FILE, *stated_hashes(self._bundle.contract)):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._bundle.path / name, place)


class JointModel:
    """The only model of a joint policy, next to the contract; same methods as `ChunkModels`."""

    owned: tuple[str, ...] = BUNDLE_FILES

    def __init__(self, bundle: JointBundle, request: CompileRequest) -> None:
        """Store bundle and request."""
        self._bundle, self._request = bundle, request

    def name(self, key: str) -> str:
        return "policy"

    def place(self, key: str, model: Path) -> Path:
        return Path("policy")

    def require_exact(self, model: Path, precision: str) -> None:
        """Raise unless float16 can represent every tick of the longest run; see `last_ticks`."""
        contract = self._bundle.contract
        if precision != "fp16":
            return
        for name, last in last_ticks(contract, read_onnx(model)).items():
            if contract.model.inputs[name].dtype == "float32" and last > EXACT_IN_FLOAT16:
                raise ToolError(
                    f"{contract.name}: {name}: expected at most {EXACT_IN_FLOAT16} ticks "
                    f"(float16 is not exact above that), found {last}: after "
                    f"{EXACT_IN_FLOAT16 / contract.rate_hz:.0f} s the values would be wrong; use "
                    f"another precision, export the model with {name} in int64, or bound the term "
                    f"with clip: [0, {EXACT_IN_FLOAT16}]"
                )

    def samples(self, source: Path | None, progress: Progress) -> Callable[[Path], Samples]:
        if source is None:
            return lambda folder: {}
        request = self._request
        count = _ROWS if request.samples is None else request.samples
        rows = read_rows(source, self._bundle, request.topics)
        samples = calibration_samples(self._bundle, source, rows, count)
        if not request.allow_poor:
            refuse_poor(str(source), verdict_on(self._bundle, rows))
        (key,) = self._bundle.contract.models
        return lambda folder: {key: GraphSamples(inputs=samples, files={})}

    def golden(self) -> Mapping[str, Tensor] | None:
        return self._bundle.golden() if self._bundle.contract.model.golden else None

    def copy(self, folder: Path) -> None:
        copy_folder(self._bundle.path, folder)


ModelsToCompile = JointModel | ChunkModels
_KINDS: Mapping[type[Bundle], Callable[[Any, CompileRequest], ModelsToCompile]] = {
    JointBundle: JointModel,
    ChunkBundle: ChunkModels,
}


def models_to_compile(bundle: Bundle, request: CompileRequest) -> ModelsToCompile:
    return _KINDS[type(bundle)](bundle, request)
