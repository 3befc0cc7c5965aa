# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From what a user names to a served model, and what is refused on the way."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.bundle.load import PUBLIC_KEY_VARIABLE
from policy_core.errors import BackendError, BundleError, PolicyError
from policy_inference.service.protocol import Answer, Code, Hello, ObservationScaling, ServiceError
from policy_inference.testing.models import save, save_linear, save_recurrent, save_sum, weights
from testkit.chunk_bundles import write_chunk_bundle
from testkit.store import make_keys
from testkit.wording import check_wording, refusal

from ..nodes.bundles import write_bundle, write_version
from .serving_models import ask_alone, session_of


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PUBLIC_KEY_VARIABLE, raising=False)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return save_linear(tmp_path / "walk.onnx", 3, 2)


def write_stats(folder: Path, **arrays: Any) -> Path:
    file = folder / "obs_stats.npz"
    np.savez(file, **arrays)
    return file


def test_bundle_is_served_as_what_it_says_with_a_warning_where_it_has_no_golden_rows(
    open_request: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    model = open_request(bundle=str(folder))
    assert (model.name, model.version, model.rate_hz) == ("two_joints", "1.2.3", 50.0)
    assert (model.obs_dim, model.action_dim, model.joints) == (15, 2, ("left", "right"))
    assert model.sha256 == hashlib.sha256((folder / "policy.yaml").read_bytes()).digest()
    assert model.problem == ""
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    check_wording(record.message)


def test_request_that_names_no_joint_policy_is_refused(open_request: Any, tmp_path: Path) -> None:
    with refusal(BundleError):
        open_request(bundle=str(write_chunk_bundle(tmp_path / "chunks")))
    with refusal(PolicyError):  # with the installed bundles
        open_request(bundle="wlak")
    with pytest.raises(FileNotFoundError, match=r"policy\.onnx"):
        open_request(model=tmp_path / "policy.onnx")


def test_model_that_computes_something_else_than_the_golden_rows_is_named(
    open_request: Any, tmp_path: Path
) -> None:
    folder = write_version(tmp_path / "bundle", "1.0.0", wrong_by=0.3)
    with refusal(BackendError) as caught:
        open_request(bundle=str(folder))
    assert str(folder / "policy.onnx") in str(caught.value)


def test_unsigned_bundle_refused_where_a_key_is_given(open_request: Any, tmp_path: Path) -> None:
    _, key = make_keys(tmp_path, "public")
    with refusal(BundleError):
        open_request(bundle=str(write_bundle(tmp_path / "bundle")), public_key=str(key))


def test_model_file_is_served_as_its_file_says(open_request: Any, model_file: Path) -> None:
    model = open_request(model=model_file, obs_dim=3, act_dim=2)
    assert (model.name, model.version, model.rate_hz, model.joints) == ("walk", "", 0.0, ())
    assert (model.obs_dim, model.action_dim) == (3, 2)
    assert model.sha256 == hashlib.sha256(model_file.read_bytes()).digest()
    np.testing.assert_allclose(
        ask_alone(model, session_of(model), [1.0, -2.0, 3.0]),
        [1.0, -2.0, 3.0] @ weights(3, 2),
        rtol=1e-6,
    )


def test_model_file_gets_observations_less_the_mean_over_the_deviation_with_its_floor(
    open_request: Any, model_file: Path
) -> None:
    stats = write_stats(
        model_file.parent, mean=np.array([1.0, 2.0, 3.0]), std=np.array([2.0, 0.0, 1e-4])
    )
    model = open_request(model=model_file, obs_stats=stats)
    ask_alone(model, session_of(model), [2.0, 2.5, 3.001])
    np.testing.assert_allclose(model.backend.inputs["obs"][0], [0.5, 500.0, 1.0], rtol=1e-3)


@pytest.mark.parametrize(
    "hello",
    [Hello(scaling=ObservationScaling.PHYSICAL), Hello(answer=Answer.TARGET)],
    ids=["physical", "target"],
)
def test_what_only_a_bundle_knows_is_not_offered_of_a_model_file(
    open_request: Any, model_file: Path, hello: Hello
) -> None:
    with refusal(ServiceError) as caught:
        open_request(model=model_file).require_offered(hello)
    assert caught.value.code is Code.NOT_OFFERED


def test_model_file_with_open_sizes_is_served_to_several_robots_in_those_that_are_given(
    open_request: Any, tmp_path: Path
) -> None:
    model = open_request(model=save_linear(tmp_path / "m.onnx", 3, 2, batch="batch"), batch=4)
    rows = np.random.default_rng(1).normal(size=(4, 3))
    answers = ask_alone(model, session_of(model, rows=4), *rows)
    np.testing.assert_allclose(answers, rows @ weights(3, 2), rtol=1e-5, atol=1e-6)
    model = open_request(model=save_open(tmp_path / "open.onnx"), obs_dim=5)
    assert model.obs_dim == 5
    assert ask_alone(model, session_of(model), np.ones(5)).tolist() == [5.0, 5.0]


def save_open(file: Path) -> Path:
    """Save a model whose observation may have any size: it answers its sum, twice."""
    nodes = [
        helper.make_node("ReduceSum", ["obs", "axis"], ["sum"], keepdims=1),
        helper.make_node("Tile", ["sum", "times"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        {"obs": ("batch", "values")},
        {"actions": ("batch", 2)},
        constants={"axis": np.array([1]), "times": np.array([1, 2])},
    )


@pytest.mark.parametrize(
    "given",
    [{"obs_dim": 4}, {"batch": 4}, {"backends": ("onnx", "rknn")}, {"backends": ("nonsense",)}],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_model_file_with_options_that_do_not_fit_it_refused(
    open_request: Any, model_file: Path, given: dict[str, Any]
) -> None:
    with refusal(PolicyError):
        open_request(**{"model": model_file, **given})


def test_statistics_that_are_not_those_of_the_model_refused(
    open_request: Any, model_file: Path
) -> None:
    stats = write_stats(model_file.parent, mean=np.zeros(3), std=np.array([1.0, -1.0, 1.0]))
    with refusal(BundleError) as caught:
        open_request(model=model_file, obs_stats=stats)
    assert str(stats) in str(caught.value)


@pytest.mark.parametrize(
    "save_to",
    [
        lambda file: save_recurrent(file, 3, 2),
        lambda file: save_sum(file, {"obs": "int64"}, 3),
        save_open,
    ],
    ids=["recurrent", "whole numbers", "open size"],
)
def test_model_file_that_needs_a_contract_or_is_none_is_refused(
    open_request: Any, tmp_path: Path, save_to: Any
) -> None:
    with refusal(BackendError):
        open_request(model=save_to(tmp_path / "m.onnx"))
