# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a chunk policy such as ACT: cameras and joints in, joint commands out.

Subscribes, if the contract needs them (best effort, depth 1): `joint_states`
(sensor_msgs/JointState), per camera `CAMERA/image_raw` (sensor_msgs/Image) or
`CAMERA/image_raw/compressed` (sensor_msgs/CompressedImage), the environment state
(std_msgs/Float32MultiArray); `estop` (std_msgs/Bool, reliable). With `takeover`:
`leader/joint_states` (sensor_msgs/JointState). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `action_chunk` (policy_msgs/ActionChunk),
`~/status` (policy_msgs/PolicyStatus, reliable, transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`; `~/load`
(policy_msgs/LoadBundle). For the flight recorder, see docs/flight_recorder.md; for the topics and
services of a takeover by a person, see docs/act.md. No tick waits for an inference: see
`policy_core.members.chunk`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from policy_inference.kinds.chunk import ChunkKind
from policy_inference.nodes.chunk_settings import ACT_PARAMETERS, chunk_settings_given
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.process import run_node


class ActPolicyNode(PolicyNode):
    """A policy node for chunk policies."""

    def __init__(self) -> None:
        super().__init__("act_policy_node", ACT_PARAMETERS)

    def find_kind(self, values: Mapping[str, Any]) -> ChunkKind:
        return ChunkKind(chunk_settings_given(values), simulated_time=self.simulated_time)


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("act_policy_node", __doc__, ACT_PARAMETERS, args)
    sys.exit(run_node(ActPolicyNode, args))


if __name__ == "__main__":
    main()
