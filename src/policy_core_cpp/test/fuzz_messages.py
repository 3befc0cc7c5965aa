# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs message_check on messages for a robot of 12 joints: `fuzz_messages.py MESSAGE_CHECK`."""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from policy_core.bundle.state_fields import COMMAND, TWIST
from policy_core.plan import plan_bytes
from policy_inference.messages.readers import message_types, state_reader, velocity_plan
from testkit.kernel.contracts import contract_of
from testkit.kernel.twins import unasked_controller
from testkit.wire_messages import ALL_INPUTS, RandomMessages

JOINTS = [
    f"{leg}_{joint}" for leg in ("FL", "FR", "RL", "RR") for joint in ("hip", "thigh", "calf")
]
DAMAGED = 20_000


def main(program: str) -> int:
    """Return 0 if no message does harm."""
    contract = contract_of(
        {
            **ALL_INPUTS,
            "joints.names": JOINTS,
            "joints.default_position": 0.0,
            "stand.position": 0.0,
            "action.terms": [{"joints": JOINTS, "kind": "position"}],
        }
    )
    controller = unasked_controller(contract)
    made = RandomMessages(JOINTS, 0)
    made.is_valid = True
    plans, messages = [], b""
    for place, name in enumerate(controller.inputs):
        reads = (
            velocity_plan(TWIST)
            if name == COMMAND
            else state_reader(name, JOINTS, controller.state).plan()
        )
        plans.append({"input": name, **reads})
        message = made.make(message_types(name)[0], 10**18)
        messages += struct.pack("<2I", place, len(message)) + message
    with tempfile.TemporaryDirectory() as folder:
        plan, corpus = Path(folder, "plan"), Path(folder, "messages")
        plan.write_bytes(plan_bytes({**controller.plan(), "messages": plans}, bytes(32)))
        corpus.write_bytes(messages)
        return subprocess.run([program, plan, corpus, "0", str(DAMAGED)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
