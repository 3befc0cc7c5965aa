# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters for nodes that may run chunk policies."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from policy_core.members.chunk.real_time import PREFIX_SCHEDULES
from policy_core.members.chunk.settings import CHUNK_MODES, ChunkSettings
from policy_inference.nodes.parameters import Spec
from policy_inference.nodes.settings import (
    ALL_NODES,
    POLICY,
    RAW,
    SHADOW,
    TICKS,
    TRANSPORTS,
    valid_for,
)

_CHUNKS = ChunkSettings()
_CHUNK_SPECS = (
    Spec(
        name="mode",
        type=str,
        default=_CHUNKS.mode,
        choices=CHUNK_MODES,
        doc="Execution mode for chunks. synchronous: the next chunk is computed when the current "
        "one has ended; asynchronous: while the current one is executed; rtc: as asynchronous, "
        "and guided to continue the current one; ensemble: weighted mean of all chunks",
    ),
    Spec(
        name="n_action_steps",
        type=int,
        default=0,
        minimum=0,
        maximum=10_000,
        doc="Number of steps of each chunk to execute; 0: the contract's number",
    ),
    Spec(
        name="refill_threshold",
        type=float,
        default=_CHUNKS.refill_threshold,
        minimum=0.0,
        maximum=1.0,
        doc="asynchronous, rtc: the next chunk is requested when less than this share of the "
        "current chunk is left",
    ),
    Spec(
        name="fade_s",
        type=float,
        default=_CHUNKS.fade_s,
        minimum=0.0,
        maximum=10.0,
        doc="asynchronous: time over which a new chunk replaces the old one, s",
    ),
    Spec(
        name="realign",
        type=bool,
        default=_CHUNKS.realign,
        doc="asynchronous: offset a new chunk so that its first target equals the last command",
    ),
    Spec(
        name="prefix_schedule",
        type=str,
        default=_CHUNKS.prefix_schedule,
        choices=PREFIX_SCHEDULES,
        doc="rtc: how the weight of the planned steps decreases from the delay to the horizon",
    ),
    Spec(
        name="execution_horizon",
        type=int,
        default=0,
        minimum=0,
        maximum=10_000,
        doc="rtc: number of steps of a new chunk that the planned steps guide; 0: as many as are "
        "planned",
    ),
    Spec(
        name="max_guidance_weight",
        type=float,
        default=_CHUNKS.max_guidance_weight,
        minimum=0.0,
        maximum=1000.0,
        doc="rtc: largest weight of the guidance",
    ),
    Spec(
        name="time_budget_s",
        type=float,
        default=0.0,
        minimum=0.0,
        maximum=60.0,
        doc="Longest time for a chunk of a flow or diffusion policy, s; if the contract's "
        "denoising steps would take longer, fewer are run; 0: always the contract's steps",
    ),
    Spec(
        name="noise_seed",
        type=int,
        default=_CHUNKS.noise_seed,
        minimum=0,
        doc="Seed for the noise from which a flow or diffusion policy generates chunks",
    ),
    Spec(
        name="image_transport",
        type=str,
        default=RAW,
        choices=tuple(TRANSPORTS),
        doc="Transport of the images: raw: CAMERA/image_raw, compressed: "
        "CAMERA/image_raw/compressed",
    ),
    Spec(
        name="simulated_latency_s",
        type=float,
        default=_CHUNKS.simulated_latency_s,
        minimum=0.0,
        maximum=60.0,
        doc="Simulated duration of an inference under use_sim_time, s",
    ),
)
SET_PARAMETERS = (
    *TICKS,
    *_CHUNK_SPECS,
    *SHADOW,
    Spec(
        name="shadow_member",
        type=str,
        default="",
        doc="Set member with which the shadow of shadow_bundle is compared while that member runs",
    ),
    *ALL_NODES,
)
"""Parameters of the policy set node, whose members may be chunk policies."""
ACT_PARAMETERS = (
    *POLICY,
    *_CHUNK_SPECS,
    Spec(
        name="run_for_s",
        type=float,
        default=0.0,
        minimum=0.0,
        doc="Time in RUN after which the robot is held, s; 0: no limit",
    ),
    Spec(
        name="takeover",
        type=bool,
        default=False,
        doc="True: a person may take over with a leader arm, whose pose arrives on "
        "leader/joint_states",
    ),
    Spec(
        name="handover_s",
        type=float,
        default=1.0,
        minimum=0.0,
        maximum=60.0,
        doc="takeover: time over which control is blended between policy and person, s",
    ),
    Spec(
        name="leader_tolerance_rad",
        type=float,
        default=0.15,
        minimum=0.001,
        maximum=3.0,
        doc="takeover: largest distance between any leader joint and the arm's command at which a "
        "person is given control of the arm, rad",
    ),
    # Chunk policies are slower than most joint policies.
    valid_for(0.2),
    *SHADOW,
    *ALL_NODES,
)
"""Parameters of the ACT policy node."""


def chunk_settings_given(values: Mapping[str, Any]) -> ChunkSettings:
    given = {
        field.name: values[field.name] for field in fields(ChunkSettings) if field.name in values
    }
    for name in ("execution_horizon", "time_budget_s"):
        given[name] = given[name] or None  # 0: the default
    if not values.get("takeover"):
        given.pop("handover_s", None)
        given.pop("leader_tolerance_rad", None)
    return ChunkSettings(**given, steps=values["n_action_steps"] or None)
