# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of each library become the function that they are in their library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from policy_core.interfaces import F32

from . import layouts
from .exporting import Exporter, axes_of, run_fed_back
from .layouts import ACT, CONFIG, LAYERS, OBS, RNN, UNITS

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


@pytest.mark.parametrize("layout", NORMALISED)
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
