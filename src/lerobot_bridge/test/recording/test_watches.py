# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The topics to record, and the sidecar file of an episode."""

from pathlib import Path

import pytest

from lerobot_bridge.episode import SIDECAR, read_sidecar
from lerobot_bridge.mapping_file import load_mapping
from lerobot_bridge.recording.watches import WantedTopic, Watch, wanted_topics
from policy_core.errors import BundleError
from testkit.wording import check_wording, refusal

S = 1_000_000_000


def test_features_are_needed_and_commands_are_not() -> None:
    wanted = {each.topic: each for each in wanted_topics(load_mapping("so101"), ["wrench"])}

    assert [topic for topic, each in wanted.items() if each.needed] == [
        "joint_states",
        "leader/joint_states",
        "front/image_raw",
        "wrist/image_raw",
        "wrench",
    ]
    assert not wanted["joint_command"].needed
    assert wanted["joint_states"].timeout_s == 0.5
    assert wanted["wrench"].types == ()


def test_what_holds_may_be_old_but_must_have_come() -> None:
    now_ns = 0
    watch = Watch(
        WantedTopic(topic="mode", types=("a/msg/B",), needed=True, holds=True),
        "/mode",
        lambda: now_ns,
    )
    watch.publishers = ["/robot"]
    check_wording(watch.problem(0))
    watch.arrived(0, b"data")
    now_ns = 99 * S

    assert watch.problem(99 * S) == ""
    assert watch.newest == b"data"


@pytest.mark.parametrize(
    ("ros_s", "steady_s", "silent"),
    [
        (1.0, 1.0, True),
        (1.0, 0.1, False),
        (0.1, 1.0, False),
        (-99.0, 1.0, True),
        (-99.0, 0.1, False),
    ],
)
def test_topic_is_silent_where_both_clocks_say_so(
    ros_s: float, steady_s: float, silent: bool
) -> None:
    times = iter((0, round(steady_s * S)))
    watch = Watch(
        WantedTopic(topic="x", types=("a/msg/B",), needed=True, timeout_s=0.5),
        "/x",
        lambda: next(times),
    )
    watch.publishers = ["/robot"]
    watch.arrived(0, b"")

    assert bool(watch.problem(round(ros_s * S))) is silent


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"number": 0, "task": "x", "rate_hz": 30, "interventions": [[5, 1]]}',
        '{"number": 0, "task": "x", "rate_hz": 30, "sucess": true}',
        "{",
    ],
)
def test_broken_sidecar_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / SIDECAR).write_text(text)

    with refusal(BundleError):
        read_sidecar(tmp_path)
