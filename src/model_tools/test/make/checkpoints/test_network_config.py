# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The YAML of `model_tools export` is read strictly."""

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.make.checkpoints.network_config import read_config
from testkit.wording import refusal

EXAMPLE = "obs_dim: 108\nact_dim: 12\nhidden_sizes: [512, 256]\nactivation: tanh\n"


@pytest.fixture
def network_yaml(tmp_path: Path) -> Path:
    return tmp_path / "cfg.yaml"


def test_the_four_keys_of_a_perceptron_are_enough(network_yaml: Path) -> None:
    network_yaml.write_text(EXAMPLE)
    config = read_config(network_yaml)
    assert (config.obs_dim, config.act_dim, config.hidden_sizes) == (108, 12, (512, 256))
    assert (config.activation, config.rnn, config.normaliser) == ("tanh", None, None)


def test_everything_that_is_wrong_is_said_at_once(network_yaml: Path) -> None:
    network_yaml.write_text(
        "obs_dim: forty\nhidden_sizes: [64, 0]\nactivation: eluu\nunits: 3\nrnn: {type: rnn}\n"
    )
    with refusal(ToolError):
        read_config(network_yaml)
