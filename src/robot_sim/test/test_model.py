# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The model has the published figures, and its drives are stable where explicit ones are not."""

from robot_sim.model import build_model

# Knees nearly straight: the lightest load a knee drive can have in the air.


def test_visible_shapes_weigh_and_touch_nothing() -> None:
    model = build_model()
    seen = model.geom_group == 2
    assert seen.any()
    assert not (model.geom_contype[seen] | model.geom_conaffinity[seen]).any()
