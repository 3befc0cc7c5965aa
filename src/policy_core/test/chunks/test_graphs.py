# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Several graphs as one: on ONNX Runtime, with graphs that are easily computed by hand."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from policy_core.members.chunk.graphs import ChunkGraphs, ChunkObservation
from policy_core.observation.images import Image
from policy_inference.backends.registry import open_models
from policy_inference.testing.models import save
from testkit.kernel.chunk_contracts import HEIGHT, STEPS, WIDTH, chunk_bundle_of
from testkit.kernel.messages import plain

CHUNK = np.arange(STEPS, dtype=np.float32).reshape(1, STEPS, 1) * np.ones(3, np.float32)
MEAN_STD = {"mode": "mean_std", "mean": [0.5, 0.25, 0.0], "std": [0.5, 0.5, 0.5], "eps": 0.0}


def onnx_entry(file: Path) -> dict[str, object]:
    """Return what a contract says of a file in fp32."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"file": file.name, "precision": "fp32", "sha256": sha256}


def write_encoder(file: Path, height: int, width: int) -> dict[str, object]:
    """Write a graph whose features are the means of the channels and of all, red first."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["channels"], axes=[2, 3], keepdims=1),
        helper.make_node("ReduceMean", ["images"], ["all"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Concat", ["channels", "all"], ["Vision_Features"], axis=1),
    ]
    save(file, nodes, {"images": (1, 3, height, width)}, {"Vision_Features": (1, 4, 1, 1)})
    return onnx_entry(file)


def write_graphs(folder: Path) -> dict[str, object]:
    """Write an encoder and a transformer; return what a contract says of the files.

    The action of step k is k + states + 10 x the first laptop feature + 100 x the second phone
    feature.
    """
    sums = [
        helper.make_node("Mul", ["laptop_features", "of_laptop"], ["l"]),
        helper.make_node("Mul", ["phone_features", "of_phone"], ["p"]),
        helper.make_node("Add", ["l", "p"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["seen"], keepdims=0),
        helper.make_node("Add", ["chunk", "states"], ["moved"]),
        helper.make_node("Add", ["moved", "seen"], ["Actions"]),
    ]
    weights = {
        "of_laptop": np.array([10, 0, 0, 0], np.float32).reshape(1, 4, 1, 1),
        "of_phone": np.array([0, 100, 0, 0], np.float32).reshape(1, 4, 1, 1),
        "axes": np.array([0, 1, 2, 3]),
        "chunk": CHUNK,
    }
    features = dict.fromkeys(("laptop_features", "phone_features"), (1, 4, 1, 1))
    file = folder / "transformer.onnx"
    outputs = {"Actions": (1, STEPS, 3)}
    save(file, sums, {"states": (1, 3), **features}, outputs, constants=weights)
    return {
        "graphs.vision.artifacts.onnx": write_encoder(folder / "vision.onnx", HEIGHT, WIDTH),
        "graphs.transformer.artifacts.onnx": onnx_entry(file),
    }


@pytest.fixture
def changes(tmp_path: Path) -> dict[str, object]:
    return write_graphs(tmp_path)


class Opened:
    def __init__(self, folder: Path, changes: Mapping[str, object]) -> None:
        bundle = chunk_bundle_of(changes, folder)
        self.backends = open_models(bundle.models, ["onnx"])
        self.graphs = ChunkGraphs(bundle.contract, self.backends)

    def close(self) -> None:
        self.backends.close()


@pytest.fixture
def opened_graphs(tmp_path: Path, changes: dict[str, object]) -> Iterator[Opened]:
    found = Opened(tmp_path, changes)
    yield found
    found.close()


def images_and_state(
    images: Mapping[str, Image], state: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> ChunkObservation:
    dark = plain(0, 0, 0, HEIGHT, WIDTH)
    return ChunkObservation(images={"laptop": dark, "phone": dark, **images}, state=np.array(state))


RED, GREEN = plain(255, 0, 0, HEIGHT, WIDTH), plain(0, 255, 0, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("images", "offset"),
    [
        ({}, 0.0),
        ({"laptop": RED}, 10.0),
        ({"phone": RED}, 0.0),
        ({"phone": GREEN}, 100.0),
        ({"laptop": GREEN}, 0.0),
        ({"laptop": RED, "phone": GREEN}, 110.0),
        ({"laptop": GREEN, "phone": RED}, 0.0),
    ],
    ids=["dark", "red laptop", "red phone", "green phone", "green laptop", "right", "swapped"],
)
def test_each_camera_goes_to_its_own_input_with_red_as_red(
    opened_graphs: Opened, images: dict[str, Image], offset: float
) -> None:
    found = opened_graphs.graphs.run(images_and_state(images))
    np.testing.assert_allclose(found, CHUNK[0] + offset, rtol=1e-6)


def test_statistics_of_cameras_state_and_action_are_used(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    changes["cameras.laptop.normalisation"] = MEAN_STD
    changes["state.normalisation"] = {"mode": "min_max", "min": [0, 0, 0], "max": [2, 4, 8]}
    changes["action.normalisation"] = {**MEAN_STD, "mean": [1, 2, 3], "std": [2, 2, 2]}
    opened = Opened(tmp_path, changes)
    found = opened.graphs.run(images_and_state({"laptop": RED, "phone": GREEN}, (2.0, 2.0, 2.0)))
    # Red of the laptop: (1 - 0.5) / 0.5 = 1; the state becomes 1, 0, -0.5.
    normalised = CHUNK[0] + [1, 0, -0.5] + 10 + 100
    np.testing.assert_allclose(found, normalised * 2 + [1, 2, 3], rtol=1e-6)
    opened.close()
