# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration samples for the graphs of a chunk policy, normalized as on the robot.

Encoders receive the normalized images of their cameras; the policy's graph receives normalized
vectors and the features that the bundle's encoders compute from the same images. All samples are
kept on disk, since two hundred images from two cameras at 640 x 480 take 1.5 GB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from model_tools.errors import ToolError
from model_tools.files.rows import ObservationSource, RecordedObservation
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import Camera, ChunkContract
from policy_core.bundle.contract import Graph
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.denoising import Denoiser
from policy_core.members.chunk.graphs import SuccessClassifier
from policy_core.members.chunk.normalise import ImageNormaliser, VectorNormaliser
from policy_core.observation.images import Image
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import open_models
from policy_inference.comparison.rows import evenly

DEFAULT_COUNT = 200
"""Samples per camera by default; D-Robotics uses 100 to 400."""
_USUAL = 100
_log = logging.getLogger("model_tools")

Progress = Callable[[int, int], object]
"""Called with the number of observations so far, and the total."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphSamples:
    """Samples of one graph.

    Attributes:
        inputs: Samples by input [samples, *shape without the batch axis], in the graph's order;
            stored on disk.
        files: By input, a name for each sample: `state/0000000007` in the folder of an input,
            `laptop_0000000007` for an encoder's images.
    """

    inputs: Mapping[str, Tensor]
    files: Mapping[str, tuple[str, ...]]


def collect_samples(
    bundle: ChunkBundle,
    source: ObservationSource,
    count: int,
    folder: Path,
    progress: Progress = lambda seen, total: None,
) -> dict[str, GraphSamples]:
    """Take `count` observations, evenly spaced over the source, for every graph.

    Args:
        bundle: Bundle whose `onnx` artifacts compute the features.
        source: Source of the observations.
        count: Number of samples; an encoder gets this many from each of its cameras.
        folder: Folder of the samples.
        progress: Called with the number of observations so far, and the total.

    Returns:
        Samples by graph name.
    """
    count = sample_count(source, count)
    if count < _USUAL:
        _log.warning(
            "%s: %d calibration observations; %d to 400 are usual", source.name, count, _USUAL
        )
    contract, graphs = bundle.contract, bundle.contract.graphs
    seen_by = {
        name: [camera for camera, one in contract.cameras.items() if one.encoder == name]
        for name in graphs
    }
    rows = {
        name: _rows(folder, name, graph, count * max(1, len(seen_by[name])))
        for name, graph in graphs.items()
    }
    observed = rows[contract.observing_graph]
    with _encoders(bundle) as encoders:
        cameras = [
            _EncodedCamera(
                name,
                camera,
                encoders[camera.encoder],
                rows[camera.encoder],
                observed,
                seen_by[camera.encoder],
            )
            if camera.encoder
            else _Camera(name, camera, observed)
            for name, camera in contract.cameras.items()
        ]
        vectors = list(_vectors(contract))
        noisy = _DenoisingSamples(contract, encoders, rows) if contract.denoising else None
        judge = contract.classifier
        classifier = SuccessClassifier(contract, encoders[judge]) if judge else None
        for sample, observation in enumerate(
            source.observations(evenly(source.count, count).tolist())
        ):
            steps = (*observation.earlier, observation)
            for one in cameras:
                one.take(sample, [step.images[one.name] for step in steps])
            for tensor, normaliser, value_of in vectors:
                for part, step in zip(_parts(observed[tensor][sample], steps), steps, strict=True):
                    part[...] = normaliser.apply(value_of(step))
            if noisy is not None:
                noisy.take(sample)
            if judge and classifier:
                classifier.probability(observation.as_observed())
                for tensor, array in encoders[judge].inputs.items():
                    rows[judge][tensor][sample] = array[0]
            progress(sample + 1, count)
    return {
        name: GraphSamples(inputs=rows[name], files=_files(contract, name, seen_by[name], count))
        for name in graphs
    }


def sample_count(source: ObservationSource, wanted: int | None) -> int:
    """Return the number of observations to take: `wanted` or, if None, up to `DEFAULT_COUNT`."""
    if wanted is None and 0 < source.count < DEFAULT_COUNT:
        _log.info(
            "%s: all %d observations are used for calibration; %d are usual",
            source.name,
            source.count,
            DEFAULT_COUNT,
        )
        return source.count
    count = DEFAULT_COUNT if wanted is None else wanted
    if not 0 < count <= source.count:
        raise ToolError(
            f"{source.name}: expected at least {count} observations (--samples), found "
            f"{source.count}; record more, or request fewer"
        )
    return count


class _Camera:
    """A camera whose images are inputs of the policy's graph."""

    def __init__(self, name: str, camera: Camera, policy: Mapping[str, Tensor]) -> None:
        self.name, self._rows = name, policy[camera.tensor]
        self._buffer = np.zeros((1, *self._rows.shape[1:]), self._rows.dtype)
        self._normaliser = ImageNormaliser(camera, self._buffer)

    def take(self, sample: int, images: Sequence[Image]) -> None:
        (image,) = images  # a policy with several observations has encoders for its images
        self._normaliser.apply(image)
        self._rows[sample] = self._buffer[0]


class _EncodedCamera:
    """A camera whose images an encoder turns into features for the policy's graph."""

    def __init__(
        self,
        name: str,
        camera: Camera,
        encoder: BackendBase,
        rows: Mapping[str, Tensor],
        policy: Mapping[str, Tensor],
        cameras: Sequence[str],
    ) -> None:
        self.name, self._encoder = name, encoder
        (self._buffer,), (self._made,) = encoder.inputs.values(), encoder.outputs.values()
        self._normaliser = ImageNormaliser(camera, self._buffer)
        # Cameras take turns, so that the first samples a tool looks at include all of them.
        self._rows = next(iter(rows.values()))[cameras.index(name) :: len(cameras)]
        self._features = policy[camera.tensor]

    def take(self, sample: int, images: Sequence[Image]) -> None:
        """Store the features of all images, and the newest image as a sample for the encoder."""
        for part, image in zip(_parts(self._features[sample], images), images, strict=True):
            self._normaliser.apply(image)
            self._encoder.run()
            part[...] = self._made[0]
        self._rows[sample] = self._buffer[0]


class _DenoisingSamples:
    """Collects the step graph's inputs other than the observation while a chunk is denoised.

    Successive samples use successive steps, so each step from noise to actions gets the same
    number of samples.
    """

    def __init__(
        self,
        contract: ChunkContract,
        graphs: Mapping[str, BackendBase],
        rows: Mapping[str, Mapping[str, Tensor]],
    ) -> None:
        denoising = contract.denoising
        assert denoising is not None
        self._backend, self._rows = graphs[contract.policy_graph], rows[contract.policy_graph]
        self._condition = None
        if denoising.condition is not None:
            self._condition = graphs[denoising.condition], rows[denoising.condition]
        self._own = (denoising.tensor, denoising.time.tensor)
        self._step = _Step(self._backend)
        self._denoiser = Denoiser(contract, self._step)
        self._random = np.random.default_rng(0)

    def take(self, sample: int) -> None:
        """Denoise the chunk of a sample whose observation is already in the rows."""
        if self._condition is not None:
            condition, given = self._condition
            for name, array in condition.inputs.items():
                array[0] = given[name][sample]
            condition.run()
            for name, made in condition.outputs.items():
                self._rows[name][sample] = made[0]
        for name, array in self._backend.inputs.items():
            if name not in self._own:
                array[0] = self._rows[name][sample]
        self._step.wanted = sample % self._denoiser.steps
        self._step.runs = 0
        self._denoiser.chunk(self._random.standard_normal(self._denoiser.noise_shape, np.float32))
        for name in self._own:
            self._rows[name][sample] = self._step.given[name][0]


class _Step:
    """The graph of a denoising step; keeps the inputs of one of its runs."""

    def __init__(self, backend: BackendBase) -> None:
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._backend = backend
        self.wanted = self.runs = 0
        self.given = dict[str, Tensor]()

    def run(self) -> None:
        if self.runs == self.wanted:
            self.given = {name: array.copy() for name, array in self.inputs.items()}
        self.runs += 1
        self._backend.run()

    def close(self) -> None:
        """Do nothing: the caller closes the graph."""


def _vectors(
    contract: ChunkContract,
) -> Iterator[tuple[str, VectorNormaliser, Callable[[RecordedObservation], F64]]]:
    """Yield the tensor, normalizer and reading function of each vector input of the policy."""
    if (state := contract.state) is not None:
        normaliser = VectorNormaliser(state.normalisation, len(state.joints))
        yield state.tensor, normaliser, attrgetter("state")
    if (outside := contract.environment_state) is not None:
        normaliser = VectorNormaliser(outside.normalisation, outside.size)
        yield outside.tensor, normaliser, attrgetter("environment_state")


def _parts(row: Tensor, steps: Sequence[object]) -> Sequence[Tensor]:
    """Return a sample's part for each of its successive observations."""
    return [row] if len(steps) == 1 else list(row)


@contextmanager
def _encoders(bundle: ChunkBundle) -> Iterator[Mapping[str, BackendBase]]:
    with open_models(bundle.models, ["onnx"]) as opened:
        yield {key.removeprefix("graphs."): backend for key, backend in opened.items()}


def _rows(folder: Path, name: str, graph: Graph, count: int) -> dict[str, Tensor]:
    return {
        spec.name: np.asarray(
            open_memmap(folder / f"{name}.{place}.npy", "w+", spec.dtype, (count, *spec.shape[1:]))
        )
        for place, spec in enumerate(graph.input_specs)
    }


def _files(
    contract: ChunkContract, graph: str, cameras: Sequence[str], count: int
) -> dict[str, tuple[str, ...]]:
    """Return sample names like those of D-Robotics' exporter for ACT."""
    if cameras:
        (tensor,) = contract.graphs[graph].inputs
        return {
            tensor: tuple(
                f"{camera}_{sample:010d}" for sample in range(count) for camera in cameras
            )
        }
    folders = {camera.tensor: name for name, camera in contract.cameras.items()}
    if graph == contract.classifier:
        folders = {tensor: tensor for tensor in contract.graphs[graph].inputs}
    if contract.denoising is not None:
        own = contract.denoising.tensor, contract.denoising.time.tensor
        condition = contract.denoising.condition
        made = contract.graphs[condition].outputs if condition else ()
        folders |= {tensor: tensor for tensor in (*own, *made)}
    for name, vector in (
        ("state", contract.state),
        ("environment_state", contract.environment_state),
    ):
        if vector is not None:
            folders[vector.tensor] = name
    return {
        tensor: tuple(f"{folders[tensor]}/{sample:010d}" for sample in range(count))
        for tensor in contract.graphs[graph].inputs
    }
