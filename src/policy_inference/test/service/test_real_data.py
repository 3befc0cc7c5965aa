# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A real policy: the service answers what it answered where it was made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from policy_inference.service.opening import ServeRequest, open_served
from policy_inference.service.protocol import Answer, ObservationScaling

from .serving_models import ask_alone, session_of

TOLERANCE = 1e-5
CONTRACT = Path(__file__).parents[2] / "config" / "bundles" / "lite3_deeprobotics" / "policy.yaml"


@pytest.mark.real_data
def test_the_lite3_policy_answers_recorded_sensors_with_the_targets_of_the_recording(
    shared_data: Path, tmp_path: Path
) -> None:
    lite3 = shared_data / "legged" / "lite3"
    recorded = {name: array[::100] for name, array in np.load(lite3 / "rollout_50hz.npz").items()}
    shutil.copy(CONTRACT, tmp_path)
    shutil.copy(lite3 / "policy.onnx", tmp_path)
    model = open_served(ServeRequest(bundle=str(tmp_path)))
    session = session_of(model, scaling=ObservationScaling.PHYSICAL, answer=Answer.TARGET)
    gravity, last_action = np.split(recorded["obs"], [3, 6, 33], axis=1)[1::2]
    default = np.tile([0.0, -0.65, 1.30], 4)
    rows = np.hstack(
        [
            recorded["ang_vel_body"],
            gravity,
            recorded["command"],
            recorded["joint_pos"] - default,
            recorded["joint_vel"],
            last_action,
        ]
    )

    answers = [ask_alone(model, session, row) for row in rows]
    model.close()

    targets = default + recorded["action"] * np.tile([0.125, 0.25, 0.25], 4)
    inside = targets.clip(np.tile([-0.523, -2.67, 0.524], 4), np.tile([0.523, 0.314, 2.792], 4))
    np.testing.assert_allclose(answers, inside, rtol=0, atol=TOLERANCE)
    assert model.counters["position_limit"] == (inside != targets).any(axis=1).sum()
