# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools replay`, and what `inspect` says of a flight: a fall on the screen."""

import json
from pathlib import Path

import pytest

from model_tools import cli
from model_tools.prove.trial import RecordedPolicy
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_backend
from robot_sim.faults import Fault, FaultPlan
from robot_sim.walk import walk
from robot_sim.world import World
from testkit.wording import check_wording, lines_with

WALKER = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"


@pytest.fixture(scope="module")
def fall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the recording of a simulated robot that is pushed over while it walks."""
    bundle, place = (
        load_bundle(WALKER, kind=JointBundle),
        tmp_path_factory.mktemp("flights") / "fall",
    )
    backend, _ = open_backend(bundle, ["onnx"])
    push = Fault(kind="push", target="left", start_s=3.0, duration_s=0.1, value=900.0)
    with RecordedPolicy(bundle, backend, place, "attitude: a test") as policy:
        walk(
            World(),
            policy,
            [(0.0, (0.5, 0.0, 0.3))],
            duration_s=4.0,
            faults=FaultPlan([push]),
            until=None,
        )
    backend.close()
    return policy.place


@pytest.mark.slow
def test_a_fall_is_shown_with_its_reason_and_the_same_commands(
    fall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report"
    assert cli.main(["replay", str(fall), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    check_wording(*lines_with(shown, "the same commands"))
    figures = json.loads((output / "replay.json").read_text("utf-8"))
    assert figures["ticks"] == 200
    assert figures["replayed"]["same"] is True
    assert figures["timeline"][-1]["trip"] is True
    assert figures["timeline"][-1]["reason"].startswith("attitude")
    assert figures["figures"]["largest_roll_deg"] > 60.0
    assert (output / "report.html").read_text("utf-8").count("<svg") == 7


def test_inspect_says_what_a_flight_is(fall: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(fall)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "lite3_walk" in shown
    assert "STAND 125, READY 1, RUN" in shown
    assert shown.count("attitude:") >= 2  # why it was kept, and what ended it
