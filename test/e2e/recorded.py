# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings that a test asks a node for, and their replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_tools.prove.replaying.replay import ReplayedFlight
from testkit.recordings import whole_recordings
from testkit.replays import replayed_from_states

from .rig import Rig


def asked_to_record(rig: Rig, service: type[Any], name: str, request: Any) -> Path:
    """Return which recording the policy node names."""
    client = rig.operator.node.create_client(service, f"joint_policy_node/{name}")
    rig.wait_until(client.service_is_ready, f"the service {name}")
    future = client.call_async(request)
    rig.wait_until(future.done, "an answer")
    assert future.result().success, future.result().message
    return Path(future.result().message.partition(" ")[2])


def replayed_exactly(rig: Rig, before: set[Path], states: str = "some") -> ReplayedFlight:
    """Wait for a new recording and replay it; see `replayed_from_states`."""
    rig.wait_until(lambda: whole_recordings() - before, "a recording")
    (path,) = whole_recordings() - before
    return replayed_from_states(path, states)
