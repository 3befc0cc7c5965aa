# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The model that is written: opsets, batch, metadata, and that it is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import pytest
import torch

from model_tools.errors import ToolError
from policy_core.interfaces import F32
from testkit.wording import refusal

from . import layouts
from .conftest import Exporter, axes_of, run_fed_back
from .layouts import ACT, CONFIG, LAYERS, OBS, RNN, UNITS


def left(folder: Path) -> set[str]:
    """Return what is in the folder beside what the user put there."""
    return {file.name for file in folder.iterdir()} - {"checkpoint.pt", "cfg.yaml"}


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("kind", ["mlp", "lstm", "gru"])
def test_every_opset_gives_the_same_function(export: Exporter, kind: str, opset: int) -> None:
    content, config = layouts.state_dict()[0], CONFIG
    if kind != "mlp":
        content = layouts.rsl_rl_recurrent(kind)[0]
        config = {**CONFIG, "rnn": {"type": kind, **RNN}}
    model = export(content, config, "--opset", str(opset))  # which compares them
    assert [given.version for given in onnx.load(model).opset_import] == [opset]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_batch_axis_is_free_if_asked(export: Exporter, kind: str) -> None:
    content, _ = layouts.rsl_rl_recurrent(kind)
    config = {**CONFIG, "rnn": {"type": kind, **RNN}}
    model = export(content, config, "--dynamic-batch")
    found = axes_of(model)
    assert (found["obs"], found["action"]) == (["batch", OBS], ["batch", ACT])
    assert (found["h_in"][1], found["h_out"][1]) == ("batch", "batch")


def test_robots_in_one_batch_do_not_see_each_other(export: Exporter) -> None:
    content, _ = layouts.state_dict()
    rows = np.random.default_rng(0).normal(size=(7, OBS)).astype(np.float32)
    alone = run_fed_back(export(content, CONFIG), rows)
    session = onnxruntime.InferenceSession(export(content, CONFIG, "--dynamic-batch", "--force"))
    assert session.run(None, {"obs": rows})[0] == pytest.approx(alone, abs=1e-6)


def test_the_model_names_its_checkpoint(export: Exporter) -> None:
    model = onnx.load(export(layouts.state_dict()[0], CONFIG))
    found = {entry.key: entry.value for entry in model.metadata_props}
    checkpoint = (export.folder / "checkpoint.pt").read_bytes()
    assert model.producer_name == "model_tools with torch"
    assert found == {
        "checkpoint": "checkpoint.pt",
        "format": "state dict",
        "checkpoint_sha256": hashlib.sha256(checkpoint).hexdigest(),
    }


@pytest.mark.parametrize("key", ["actions", "action"])
def test_recorded_actions_tell_the_activation(
    export: Exporter, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    content, actor = layouts.state_dict()
    rows, obs = export.folder / "rows.npz", torch.randn(17, OBS)
    with torch.no_grad():
        np.savez(rows, allow_pickle=False, **{"obs": obs.numpy(), key: actor(obs).numpy()})
    with refusal(ToolError):
        export(content, {**CONFIG, "activation": "relu"}, "--check", str(rows))
    export(content, CONFIG, "--check", str(rows))
    assert "rows.npz, recorded actions: " in capsys.readouterr().out


@pytest.mark.parametrize(("epsilon", "floor"), [(0.01, {}), (0.0, {"std_floor": 5e-05})])
def test_a_model_says_which_statistics_were_kept_beside_it(
    export: Exporter, epsilon: float, floor: dict[str, float]
) -> None:
    content = {
        "model_state_dict": layouts.state_dict()[0],
        "obs_norm_state_dict": layouts.empirical(OBS).state_dict(),
    }
    content["obs_norm_state_dict"]["_std"][0, 1] = 1e-4
    export(content, {**CONFIG, "normaliser": "keep", "normaliser_epsilon": epsilon})
    digest = hashlib.sha256((export.folder / "obs_stats.npz").read_bytes()).hexdigest()
    stated = {entry.key: entry.value for entry in onnx.load(export.output).metadata_props}
    assert json.loads(stated["obs_stats"]) == {"file": "obs_stats.npz", "sha256": digest, **floor}


def test_what_is_there_is_replaced_only_by_force(export: Exporter) -> None:
    content, _ = layouts.state_dict()
    export.output.write_text("mine")
    with refusal(ToolError):
        export(content, CONFIG)
    assert export.output.read_text() == "mine"
    export(content, CONFIG, "--force")
    onnx.load(export.output)


def test_a_model_that_differs_from_the_checkpoint_is_refused(
    export: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        bias = next(one for one in model.graph.initializer if len(one.dims) == 1)
        values = onnx.numpy_helper.to_array(bias) + np.float32(1e-3)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return model, True

    monkeypatch.setattr(onnxsim, "simplify", spoil)
    with refusal(ToolError):
        export(layouts.state_dict()[0], CONFIG)
    assert left(export.folder) == set()


Layout = Callable[[], tuple[layouts.Content, layouts.Actions]]
BARE = (layouts.state_dict, layouts.wrapped_state_dict, layouts.rsl_rl_student)
NORMALISED = (
    layouts.rsl_rl_2,
    layouts.rsl_rl_3,
    layouts.rsl_rl_5,
    layouts.skrl_separate,
    layouts.skrl_shared,
    layouts.rl_games,
    partial(layouts.rl_games, compiled=True),
)
RECURRENT = (
    (layouts.rsl_rl_recurrent, "before_mlp"),
    (layouts.rsl_rl_5_recurrent, "before_mlp"),
    (layouts.rl_games_recurrent, "after_mlp"),
)


def wide_rows(rows: int = 50) -> torch.Tensor:
    """Return rows so wide that the bounds of normalisers are met."""
    return 4.0 * torch.randn(rows, OBS)


def expected(actions: layouts.Actions, obs: torch.Tensor) -> F32:
    with torch.no_grad():
        return np.asarray(actions(obs).numpy())


@pytest.mark.parametrize("layout", BARE)
def test_the_actor_alone_is_exported(export: Exporter, layout: Layout) -> None:
    content, actions = layout()
    model, obs = export(content, CONFIG), wide_rows()
    assert axes_of(model) == {"obs": [1, OBS], "action": [1, ACT]}
    assert run_fed_back(model, obs.numpy()) == pytest.approx(expected(actions, obs), abs=1e-5)


@pytest.mark.parametrize("layout", NORMALISED)
def test_a_baked_normaliser_does_what_its_library_does(export: Exporter, layout: Layout) -> None:
    content, actions = layout()
    model, obs = export(content, {**CONFIG, "normaliser": "bake"}), wide_rows()
    assert run_fed_back(model, obs.numpy()) == pytest.approx(expected(actions, obs), abs=1e-5)


@pytest.mark.parametrize("layout", [layouts.rsl_rl_2, layouts.rl_games])
def test_a_kept_normaliser_and_the_model_are_the_policy(export: Exporter, layout: Layout) -> None:
    content, actions = layout()
    model, obs = export(content, {**CONFIG, "normaliser": "keep"}), wide_rows()
    with np.load(export.folder / "obs_stats.npz") as stats:
        normalised = (obs.numpy() - stats["mean"]) / stats["std"]
    assert run_fed_back(model, normalised) == pytest.approx(expected(actions, obs), abs=1e-5)


def test_epsilon_and_bound_of_the_training_can_be_said(export: Exporter) -> None:
    norm = layouts.empirical(OBS)
    content, actor = layouts.state_dict()
    whole = {"model_state_dict": content, "obs_norm_state_dict": norm.state_dict()}
    said = {"normaliser": "bake", "normaliser_epsilon": 0.5, "normaliser_clip": 1.0}
    obs = wide_rows()
    normalised = ((obs - norm._mean) / (norm._std + 0.5)).clamp(-1.0, 1.0)
    found = run_fed_back(export(whole, {**CONFIG, **said}), obs.numpy())
    assert found == pytest.approx(expected(actor, normalised), abs=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize(("layout", "position"), RECURRENT)
def test_the_state_comes_out_and_goes_in_for_50_steps(
    export: Exporter,
    kind: str,
    layout: Callable[[str], tuple[layouts.Content, layouts.Actions]],
    position: str,
) -> None:
    content, actions = layout(kind)
    rnn = {"type": kind, "position": position, **RNN}
    model, obs = export(content, {**CONFIG, "rnn": rnn}), wide_rows(50)
    axes, names = [LAYERS, 1, UNITS], ("h", "c") if kind == "lstm" else ("h",)
    assert axes_of(model) == {
        "obs": [1, OBS],
        "action": [1, ACT],
        **{f"{name}_{way}": axes for name in names for way in ("in", "out")},
    }
    assert run_fed_back(model, obs.numpy()) == pytest.approx(expected(actions, obs), abs=1e-5)
