# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A folder to run commands in, with code of a user's own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..tiny_bundle import make_bundle

ENVIRONMENT = """
import numpy as np


class Env:
    def __init__(self):
        self.random = np.random.default_rng(0)

    def reset(self, seed=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        return self.observe(np.zeros(2)), {}

    def step(self, action):
        return self.observe(action), 1.0, self.random.uniform() < 0.1, False, {}

    def observe(self, action):
        return np.append(self.random.uniform(-1, 1, 4), action)

    def close(self):
        open("closed", "w").close()


def still():
    env = Env()
    env.random = None
    env.reset = lambda seed=None: np.zeros(6)
    env.step = lambda action: (np.append(np.zeros(4), action), 0.0, False, {})
    return env


class Users:
    def __init__(self, obs_dim, act_dim):
        self.sizes = obs_dim, act_dim

    def act(self, obs):
        assert obs.shape == (self.sizes[0],)
        return 0.25 * np.ones(self.sizes[1])
"""


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes the folder current: with the bundle `tiny` and the module `our_env`."""

    def enter() -> None:
        make_bundle(tmp_path / "tiny")
        (tmp_path / "our_env.py").write_text(ENVIRONMENT, "utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "our_env", raising=False)

    return enter
