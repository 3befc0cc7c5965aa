# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Success signal of a chunk policy: its threshold and error rates, from judged episodes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.files.bags.bag import is_bag
from model_tools.files.bags.chunk_bag import ChunkBagSource
from model_tools.files.contract_text import plain, set_section
from model_tools.files.lerobot.dataset import DatasetEpisode
from model_tools.files.lerobot.dataset_info import INFO
from model_tools.files.observation_sources import DatasetSource
from model_tools.files.onnx_model import ModelTensor, read_onnx
from model_tools.files.outputs import copy_folder, new_folder
from model_tools.files.rows import RecordedObservation
from policy_core.bundle.bundle import CONTRACT_FILE, file_entry
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    GOLDEN_SUCCESS,
    ChunkContract,
    SignalError,
    SuccessSignal,
)
from policy_core.bundle.contract import Artifact, Graph
from policy_core.bundle.contract import Tensor as ContractTensor
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Backend
from policy_core.members.chunk.graphs import make_classifier
from policy_core.members.chunk.normalise import Units
from policy_core.members.chunk.settings import ChunkSettings, executed_steps
from policy_core.members.chunk.success import SuccessWatch
from policy_inference.backends.registry import open_models
from policy_inference.comparison.chunks import observation_at
from policy_inference.kinds.chunk import ChunkKind

GRAPH = "Success"
"""Name of a classifier in the contract, and of its folder."""
SIDECAR = "episode.json"
"""File that `episode_recorder` writes next to the messages of an episode."""
VERDICT = "next.success"
"""Feature of a LeRobot dataset: true in the last frame of a successful episode."""
_LEAST = 2
_UNKNOWN = 0.5
_log = logging.getLogger("model_tools")
Progress = Callable[[int, int | None], None]
Say = Callable[[RecordedObservation], float]
"""Returns a probability; for joints, 1 within their ranges and 0 otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessSource:
    """Source of a success signal, and options for its calibration.

    Attributes:
        episodes: Name of the recordings.
        classifier: ONNX file; if None and there are no joints, the bundle's own source.
        joints: (lowest, highest) position by joint, rad.
        for_s: Time for which the signal must hold, s; if None, the bundle's.
        then: Reaction; if None, the bundle's, or `flag` if the bundle has none.
    """

    episodes: str
    classifier: Path | None = None
    joints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    for_s: float | None = None
    then: Literal["end", "flag"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedEpisode:
    """An episode judged by a person or a simulator.

    Attributes:
        name: Name of the recording, or number in a dataset.
        succeeded: The verdict.
        observations: Function that returns every n-th observation.
    """

    name: str
    succeeded: bool
    observations: Callable[[int], Iterator[RecordedObservation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Values of the signal's source in an episode.

    Attributes:
        name: Name of the episode.
        succeeded: Verdict on the episode.
        times_ns: Times of the observations.
        values: Probabilities; for joints, 1 within their ranges and 0 otherwise.
    """

    name: str
    succeeded: bool
    times_ns: Sequence[int]
    values: Sequence[float]


def judged_episodes(contract: ChunkContract, path: Path) -> list[JudgedEpisode]:
    """Return the judged episodes of a LeRobot dataset, a recording or a folder of recordings."""
    if (path / INFO).is_file():
        return _of_dataset(contract, path)
    bags = [path] if is_bag(path) else [each for each in sorted(path.glob("*")) if is_bag(each)]
    found = [each for bag in bags if (each := _of_bag(contract, bag)) is not None]
    if not found:
        raise ToolError(
            f"{path}: expected episodes with a verdict, found none; record them with "
            "episode_recorder and judge them with `episode_operator success` or `failure`"
        )
    return found


def _of_dataset(contract: ChunkContract, path: Path) -> list[JudgedEpisode]:
    source = DatasetSource(contract, path)
    dataset = source.dataset
    dataset.feature(VERDICT)
    return [
        JudgedEpisode(
            name=f"{source.name}[{episode.index}]",
            succeeded=bool(np.any(dataset.rows(episode, [VERDICT])[VERDICT])),
            observations=partial(_frames, source, episode),
        )
        for episode in dataset.episodes
    ]


def _frames(
    source: DatasetSource, episode: DatasetEpisode, every: int
) -> Iterator[RecordedObservation]:
    return source.of_episode(episode, range(0, episode.length, every))


def _of_bag(contract: ChunkContract, bag: Path) -> JudgedEpisode | None:
    """Return an episode; None if it has no verdict."""
    file = bag / SIDECAR
    try:
        verdict = json.loads(file.read_text("utf-8"))["success"]
    except (OSError, ValueError, KeyError, TypeError):
        verdict = None
    if not isinstance(verdict, bool):
        _log.warning("%s: left out, because its %s has no verdict", bag, SIDECAR)
        return None

    def observations(every: int) -> Iterator[RecordedObservation]:
        source = ChunkBagSource(contract, bag, {})
        return source.observations(range(0, source.count, every))

    return JudgedEpisode(name=bag.name, succeeded=verdict, observations=observations)


def calibrate_success(
    bundle: ChunkBundle,
    episodes: Sequence[JudgedEpisode],
    source: SuccessSource,
    version: str,
    output: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> SuccessSignal:
    """Write a new bundle with the signal, its threshold and its error rates.

    Args:
        bundle: Source bundle, left unchanged.
        episodes: At least two successful and two failed episodes.
        source: Source of the signal.
        version: Version of the new bundle.
        output: Folder of the new bundle, which must not exist.
        progress: Called with the number of episodes so far, and the total.
    """
    for verdict, what in ((True, "succeeded"), (False, "failed")):
        count = sum(each.succeeded is verdict for each in episodes)
        if count < _LEAST:
            raise ToolError(
                f"expected at least {_LEAST} episodes that {what}, found {count}; record more"
            )
    if version == bundle.contract.version:
        raise ToolError(
            f"--version: expected a version other than {bundle.path}'s, found {version}"
        )
    with new_folder(output, marker=CONTRACT_FILE, kept=bundle.path) as made:
        copy_folder(bundle.path, made)
        signal = _begun(bundle.contract, source, made)
        _write(made, {"version": version, "success": _stated(signal)})
        found = load_bundle(made, kind=ChunkBundle)
        with open_models(found.models, ["onnx"]) as models:
            say, readings = _what_says(found.contract, models), []
            for number, each in enumerate(episodes):
                readings.append(_read(found.contract, say, each))
                progress(number + 1, len(episodes))
            if source.classifier is not None:
                _write_golden(bundle, found.contract, models, made)
        signal = measured(found.contract, readings, source.episodes)
        _write(made, {"success": _stated(signal)})
        load_bundle(made)
    return signal


def _begun(contract: ChunkContract, source: SuccessSource, made: Path) -> SuccessSignal:
    """Return the signal to calibrate; copy a new classifier into the new bundle."""
    former = contract.success
    if source.classifier is None and not source.joints and former is None:
        raise ToolError(
            f"{contract.name}: expected a success signal, found none; name its source with "
            "--classifier or --joint"
        )
    for_s = source.for_s
    if for_s is None and former is not None:
        for_s = former.for_s
    if for_s is None:
        raise ToolError("--for: expected a duration in s, found nothing")
    then: Literal["end", "flag"] = source.then or (former.then if former else "flag")
    if source.classifier is not None:
        _add_graph(contract, source.classifier, made)
        return SuccessSignal(graph=GRAPH, threshold=_UNKNOWN, for_s=for_s, then=then)
    if source.joints:
        joints: dict[str, tuple[float, ...]] = dict(source.joints)
        return SuccessSignal(joints=joints, for_s=for_s, then=then)
    assert former is not None
    return replace(former, for_s=for_s, then=then, error=None)


def _add_graph(contract: ChunkContract, file: Path, made: Path) -> None:
    if contract.classifier is not None:
        raise ToolError(
            f"--classifier: expected a bundle without one, found {contract.classifier} in "
            f"{contract.name}; use the original bundle, to which it was added"
        )
    model = read_onnx(file)
    if model.external_files:
        raise ToolError(f"{file}: expected all weights in the file, found external ones")
    place = made / GRAPH / f"{GRAPH}.onnx"
    place.parent.mkdir()
    place.write_bytes(model.content)
    entry = file_entry(place, made)
    graph = Graph(
        inputs=_tensors(model.inputs),
        outputs=_tensors(model.outputs),
        artifacts={
            "onnx": Artifact(
                file=entry.file, sha256=entry.sha256, precision=model.precision, tool=model.producer
            )
        },
    )
    _write(made, {f"graphs.{GRAPH}": graph})


def _tensors(found: Mapping[str, ModelTensor]) -> dict[str, ContractTensor]:
    # A dynamic axis is the batch axis.
    return {
        name: ContractTensor(
            shape=tuple(abs(axis) for axis in one.shape),
            dtype=one.dtype,  # type: ignore[arg-type]  # the contract is checked again
        )
        for name, one in found.items()
    }


def _stated(signal: SuccessSignal) -> dict[str, object]:
    """Return a signal without its empty entries."""
    return {name: value for name, value in plain(signal).items() if value != {}}


def _write(made: Path, sections: Mapping[str, object]) -> None:
    file = made / CONTRACT_FILE
    text = file.read_text("utf-8")
    for key, value in sections.items():
        text = set_section(text, key, value)
    file.write_text(text, "utf-8")


def _write_golden(
    bundle: ChunkBundle, contract: ChunkContract, models: Mapping[str, Backend], made: Path
) -> None:
    """Add the new classifier's outputs to the golden rows."""
    golden, rows = bundle.golden(), ChunkKind().golden_rows(bundle)
    classifier = make_classifier(contract, models)
    assert classifier is not None
    golden[GOLDEN_SUCCESS] = np.array(
        [classifier.probability(observation_at(rows, row)) for row in range(len(rows))], np.float32
    )
    assert contract.golden is not None  # read before
    file = made / contract.golden.file
    np.savez_compressed(file, **golden)  # type: ignore[arg-type]  # numpy takes arrays by name
    _write(made, {"golden": file_entry(file, made)})


def _what_says(contract: ChunkContract, models: Mapping[str, Backend]) -> Say:
    """Return the function that computes the signal, from the classifier or the joint ranges."""
    classifier = make_classifier(contract, models)
    if classifier is None:
        return _in_range(contract)
    return lambda observation: classifier.probability(observation.as_observed())


def _read(contract: ChunkContract, say: Say, episode: JudgedEpisode) -> Readings:
    """Return the signal's values, read at the interval of a node with default parameters."""
    times_ns, values = list[int](), list[float]()
    for observation in episode.observations(reading_ticks(contract)):
        times_ns.append(observation.number * contract.period_ns)
        values.append(say(observation))
    return Readings(
        name=episode.name, succeeded=episode.succeeded, times_ns=times_ns, values=values
    )


def reading_ticks(contract: ChunkContract) -> int:
    """Return the number of ticks between two readings of the signal, with default parameters."""
    if contract.classifier is None:
        return 1
    settings = ChunkSettings()
    steps = executed_steps(settings, contract)
    return max(1, steps - int(settings.refill_threshold * steps))


def _in_range(contract: ChunkContract) -> Say:
    """Return a function that returns 1 if the joints are in their ranges, else 0."""
    signal, state = contract.success, contract.state
    assert signal is not None
    seen = () if state is None else state.joints
    if unseen := sorted(signal.joints.keys() - set(seen)):
        raise ToolError(
            f"--joint: expected joints of the policy's state ({', '.join(seen) or 'none'}), "
            f"found {', '.join(unseen)}"
        )
    places, units = [seen.index(name) for name in signal.joints], Units(contract.units, seen)
    low, high = np.array([*signal.joints.values()]).T

    def say(observation: RecordedObservation) -> float:
        assert observation.state is not None
        position: F64 = units.to_rad(observation.state)[places]
        return float(((low <= position) & (position <= high)).all())

    return say


def measured(contract: ChunkContract, readings: Sequence[Readings], source: str) -> SuccessSignal:
    """Return the contract's signal with its threshold and error rates.

    The threshold is the one with the fewest errors. Each episode is judged by a threshold computed
    from the other episodes (leave-one-out), so that the error rates are unbiased.

    Args:
        contract: Contract with the signal.
        readings: Values in judged episodes.
        source: Description of the episodes.
    """
    signal = contract.success
    assert signal is not None
    succeeded = np.array([each.succeeded for each in readings])
    scores = np.array([_score(contract, each) for each in readings])
    if signal.graph is None:
        came = scores > _UNKNOWN
    else:
        signal = replace(signal, threshold=round(best_threshold(scores, succeeded), 4))
        others = ~np.eye(len(scores), dtype=bool)
        came = np.array(
            [
                score >= best_threshold(scores[rest], succeeded[rest])
                for score, rest in zip(scores, others, strict=True)
            ]
        )
    error = SignalError(
        source=source,
        successes=int(succeeded.sum()),
        failures=int((~succeeded).sum()),
        false_positive_rate=round(float(came[~succeeded].mean()), 4),
        false_negative_rate=round(float((~came[succeeded]).mean()), 4),
    )
    return replace(signal, error=error)


def _score(contract: ChunkContract, readings: Readings) -> float:
    """Return the largest threshold at which an episode gives the signal; 0 if there is none."""
    for threshold in sorted({*readings.values}, reverse=True):
        watch = SuccessWatch(contract)
        for time_ns, value in zip(readings.times_ns, readings.values, strict=True):
            watch.see(time_ns, holds=value >= threshold)
        if watch.done:
            return threshold
    return 0.0


def best_threshold(scores: F64, succeeded: npt.NDArray[np.bool_]) -> float:
    """Return the threshold with the smallest sum of both error rates.

    If there are several, return the one in the middle of the widest gap between scores.

    Args:
        scores: Scores of episodes, 0 to 1: the signal is given if the score is at least the
            threshold.
        succeeded: Verdicts of the episodes; both kinds must occur.
    """
    edges = np.unique([0.0, *scores, 1.0])
    middles, widths = (edges[:-1] + edges[1:]) / 2.0, np.diff(edges)
    errors = [
        (scores[~succeeded] >= middle).mean() + (scores[succeeded] < middle).mean()
        for middle in middles
    ]
    return float(middles[np.lexsort((-widths, errors))[0]])
