# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that perceives the ground: simulated mapper, perception node and policy node."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.perceiving import write_perceiving_bundle
from testkit.recordings import whole_recordings

from .conftest import WALKING_MPS
from .recorded import replayed_exactly
from .rig import Rig

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.mark.acceptance
def test_a_robot_walks_on_its_map_and_a_mapper_that_stops_ends_the_run(tmp_path: Path) -> None:
    bundle = str(write_perceiving_bundle(tmp_path / "bundle"))
    before = whole_recordings()
    # So slow that the perception node keeps up.
    sim = {"terrain": "tiles", "step_m": 0.01, "elevation_map": True, "lockstep_speed": 0.5}
    beside = {"perception_node": {"bundle": bundle, "use_sim_time": True}}
    with Rig(tmp_path, bundle=bundle, sim=sim, beside=beside) as rig:
        rig.operator.stand_up()
        rig.operator.move(WALKING_MPS)
        rig.wait_until(lambda: rig.forward_mps > 0.3, "the robot to walk")
        rig.fail("drop:elevation_map")
        rig.wait_for_latched_damp()
        # On a busy machine the message that says why may come too late.
        assert rig.counters.keys() & {"invalid_perception", "stale_perception"}
        assert rig.counters["held_too_long"] == 1
        found = replayed_exactly(rig, before)
    assert found.replayer.stages["inputs"].judged > 50
