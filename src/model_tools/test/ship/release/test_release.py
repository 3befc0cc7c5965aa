# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A release goes from stage to stage, on evidence, and no other way."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.ship.push import bundle_digest
from model_tools.ship.release import release_file
from model_tools.ship.release.release_file import add_event, read_release
from policy_core.bundle.load import load_bundle
from testkit.chunk_bundles import write_chunk_bundle
from testkit.edits import reword
from testkit.store import MakeVersion, make_keys, tool, tool_refused
from testkit.wording import check_wording, refusal

from .conftest import Candidate


def test_release_goes_through_all_stages(
    proposal: Candidate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proposal.status()[0] == 4
    stages = [
        ("simulation", proposal.simulation()),
        ("shadow", proposal.shadow()),
        ("canary", proposal.trial()),
        ("production", proposal.fleet(r1="healthy", r2="healthy")),
    ]
    for number, (stage, report) in enumerate(stages):
        if number:
            assert proposal.promote() == 0
        assert proposal.prove(stage, report) == 0
        code, found = proposal.status()
        assert (code, found["stage"], found["health"]) == (0, stage, "healthy")
    assert [one["by"] for one in found["approved"]] == ["Ada"] * 3
    compared = found["stages"]["shadow"]["robots"]["r1"]
    assert compared["health"] == "healthy"
    assert {"minutes", "distance", "rms_steps", "missed_share"} <= compared["figures"].keys()
    capsys.readouterr()
    assert tool("release", "status", proposal.file) == 0
    check_wording(capsys.readouterr().out)
    release = read_release(proposal.file)
    assert release.digest == bundle_digest(load_bundle(proposal.bundle))
    assert release.sha256 == proposal.sha256
    assert proposal.promote() == 1  # there is no stage after it


def test_release_of_a_chunk_policy_has_a_shadow_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    private, _ = make_keys(tmp_path)
    new, old = (
        write_chunk_bundle(tmp_path / version, version=version) for version in ("1.1.0", "1.0.0")
    )
    assert tool("sign", new, "--key", private) == 0
    proposal = Candidate(tmp_path, new, old, caplog)
    how = ("--baseline", old, "--without", "simulation", "--output", proposal.file)

    assert tool("release", "new", new, *how) == 0

    assert read_release(proposal.file).stage == "shadow"
    report = proposal.shadow(rms_steps=None, systematic=None)  # no healthy step is known
    assert proposal.prove("shadow", report) == 0
    assert proposal.promote() == 0
    assert read_release(proposal.file).stage == "canary"


def test_promotion_names_everything_that_is_missing(
    proposal: Candidate, caplog: pytest.LogCaptureFixture
) -> None:
    report = proposal.report("sim", proposal.simulation(holds=False, baseline_sha256=None))
    attached = proposal.folder / "flight.mcap"
    attached.write_bytes(b"recording")
    evidence = ("--evidence", report, "--attach", attached)
    assert tool("release", "record", proposal.file, "simulation", *evidence) == 1
    attached.write_bytes(b"another")
    report.unlink()
    assert tool("release", "halt", proposal.file, "--reason", "rain", "--by", "Bo") == 0
    caplog.clear()
    assert proposal.promote() == 1
    check_wording(caplog.messages[-1])
    assert read_release(proposal.file).stage == "simulation"


@pytest.mark.parametrize(("walk_s", "code"), [(20.0, 4), (599.0, 4), (600.0, 0), (601.0, 0)])
def test_walks_shorter_than_the_release_requires_are_not_enough(
    walk_s: float, code: int, proposal: Candidate
) -> None:
    reword(proposal.file, ("walk_s: 20.0", "walk_s: 600.0"))
    assert proposal.prove("simulation", proposal.simulation(walk_s=walk_s)) == code
    assert proposal.status()[0] == code


def bring_to(proposal: Candidate, stage: str) -> None:
    before = release_file.STAGES[: release_file.STAGES.index(stage)]
    proposal.limit(**dict.fromkeys(before))


FIGURES = ("max", "rms", "rms_steps", "moves", "gain", "correlation", "torque_error")
NO_JOINTS: dict[str, Any] = {key: [] for key in (*FIGURES, "joints")} | {"systematic": None}
EQUAL: dict[str, Any] = {"expected": {"onnx onnx": {"rms": {}, "max": {}}}}
ROUNDED: dict[str, Any] = {
    "expected": {
        "onnx onnx": {"rms": {"hip": 0.01, "knee": 0.01}, "max": {"hip": 0.03, "knee": 0.03}}
    }
}
STATED: dict[str, Any] = {"expected": {}, "max_distance": 0.5, "max_rms_steps": 0.5}
NEAR = {"max": [0.05, 0.05], "rms": [0.011, 0.009], "rms_steps": [0.02, 0.02]}


@pytest.mark.parametrize(
    ("evidence", "change", "health", "reason"),
    [
        (EQUAL, {}, "healthy", ""),
        (EQUAL, {"ticks": {"compared": 100}}, "not_enough", "0.0 min"),
        (EQUAL, {"max": [0.1, 0.7]}, "bad", "distance_ratio"),
        (EQUAL, {"beyond_limits": 3}, "bad", "beyond_limits_share"),
        (EQUAL, {"ticks": {"failed": 1}}, "bad", "failed_share"),
        (EQUAL, {"torque_error": [0.0, 0.2]}, "bad", "torque_error"),
        (EQUAL, {"torque_error": None}, "healthy", ""),  # a chunk policy's is not measured
        (STATED, NEAR | {"torque_error": [0.0, 0.2]}, "bad", "torque_error"),
        (EQUAL, {"ticks": {"compared": 0, "skipped": 9000}}, "not_enough", "nothing"),
        (EQUAL, NO_JOINTS, "not_enough", "nothing"),
        (EQUAL, {"backend": "rknn"}, "not_enough", "max_rms_steps"),
        (ROUNDED, NEAR, "healthy", ""),
        (ROUNDED, NEAR | {"gain": [0.9, 1.0]}, "bad", "gain_error"),
        (ROUNDED, NEAR | {"systematic": None}, "not_enough", "systematic_share"),
        (STATED, NEAR, "healthy", ""),
        (STATED, NEAR | {"max": [0.1, 0.7]}, "bad", "distance"),
    ],
)
def test_shadow_is_held_against_its_evidence(
    evidence: dict[str, Any], change: dict[str, Any], health: str, reason: str, proposal: Candidate
) -> None:
    proposal.limit(**evidence)
    bring_to(proposal, "shadow")
    code = proposal.prove("shadow", proposal.shadow(**change))
    assert code == {"healthy": 0, "bad": 1, "not_enough": 4}[health]
    found = proposal.status()[1]
    assert found["health"] == health
    assert reason in " ".join(found["reasons"])


@pytest.mark.parametrize(
    ("stage", "accepted", "meant"),
    [
        ("simulation", ["joints.damping"], False),
        ("production", ["joints.damping"], False),
        ("shadow", ["joints.stiffness"], True),
        ("production", ["joints"], True),
    ],
)
def test_contract_that_differs_stops_every_stage_until_a_person_accepts_it(
    stage: str,
    accepted: list[str],
    meant: bool,
    tmp_path: Path,
    make_version: MakeVersion,
    caplog: pytest.LogCaptureFixture,
) -> None:
    softer = make_version(
        "1.1.0", ("effort_limit: 1, stiffness: 1", "effort_limit: 1, stiffness: 0.8")
    )
    private, _ = make_keys(tmp_path)
    assert tool("sign", softer, "--key", private) == 0
    proposal = Candidate(tmp_path, softer, make_version("1.0.0"), caplog)
    new = ("release", "new", softer, "--baseline", proposal.baseline)
    assert tool(*new, "--output", proposal.file) == 0
    proposal.limit(accepted_differences=accepted)
    proposal.limit(**{name: None for name in ("simulation", "shadow", "canary") if name != stage})
    report = {
        "simulation": proposal.simulation(),
        "shadow": proposal.shadow(),
        "canary": proposal.trial(),
        "production": proposal.fleet(r1="healthy"),
    }[stage]

    code = proposal.prove(stage, report)

    assert code == (0 if meant else 1)
    reasons = proposal.status()[1]["reasons"]
    assert all("joints.stiffness" in one for one in reasons)
    assert bool(reasons) is not meant
    if stage != "production":
        assert proposal.promote() == code


@pytest.fixture
def softer(
    tmp_path: Path, make_version: MakeVersion, caplog: pytest.LogCaptureFixture
) -> Candidate:
    """A release in shadow whose contract differs from the baseline's; nobody has accepted it."""
    bundle = make_version(
        "1.1.0", ("effort_limit: 1, stiffness: 1", "effort_limit: 1, stiffness: 0.8")
    )
    private, _ = make_keys(tmp_path)
    assert tool("sign", bundle, "--key", private) == 0
    candidate = Candidate(tmp_path, bundle, make_version("1.0.0"), caplog)
    new = ("release", "new", bundle, "--baseline", candidate.baseline)
    assert tool(*new, "--without", "simulation", "--output", candidate.file) == 0
    return candidate


def test_failed_checks_are_shown_beside_a_difference_that_is_not_accepted(
    softer: Candidate,
) -> None:
    assert softer.prove("shadow", softer.shadow(max=[0.1, 0.7])) == 1
    code, found = softer.status()
    assert code == 1
    check_wording(*found["reasons"])
    assert ["joints.stiffness" in one for one in found["reasons"]] == [True, False]


def test_difference_that_is_accepted_later_keeps_the_file_and_its_evidence_valid(
    softer: Candidate,
) -> None:
    assert softer.prove("shadow", softer.shadow()) == 1
    softer.refused("release", "accept", softer.file, "joints.damping", "--by", "Ada")
    assert tool("release", "accept", softer.file, "joints", "--by", "Ada") == 0
    softer.refused("release", "accept", softer.file, "joints", "--by", "Ada")
    assert softer.status()[0] == 0
    assert softer.promote() == 0
    assert read_release(softer.file).history[1].accepted == ("joints",)


def test_file_of_an_earlier_version_is_read_and_continued(proposal: Candidate) -> None:
    """It lacks the keys that came later; the hashes are those of what it contains."""
    assert proposal.prove("simulation", proposal.simulation()) == 0
    document = yaml.safe_load(proposal.file.read_text("utf-8"))
    del document["stages"]["canary"]["unchecked_gates"]
    (event,) = document.pop("history")
    del event["accepted"], event["chain"], event["robots"]["r1"]["host"]

    def hashed(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    event["chain"] = hashed([hashed(document), event])
    document["history"] = [event]
    proposal.file.write_text(yaml.safe_dump(document), "utf-8")

    assert proposal.promote() == 0
    assert proposal.prove("shadow", proposal.shadow()) == 0
    assert yaml.safe_load(proposal.file.read_text("utf-8"))["history"][0] == event


@pytest.mark.parametrize(
    "change",
    [
        {"ticks": {"failed": 5, "not_finite": -5}},
        {"beyond_limits": -3},
        {"max": [-9.0, 0.0]},
        {"torque_error": [-9.0, 0.0]},
        {"joints": ["hip", "hip"], "max": [9.0, 0.1]},
        {"gain": [1.0]},
    ],
)
def test_numbers_that_hide_others_are_refused(change: dict[str, Any], proposal: Candidate) -> None:
    bring_to(proposal, "shadow")
    assert proposal.prove("shadow", proposal.shadow(**change)) == 4
    assert read_release(proposal.file).evidence("shadow") == {}


def test_report_proves_nothing_of_another_robot(proposal: Candidate) -> None:
    bring_to(proposal, "shadow")
    first, copy = (proposal.report(name, proposal.shadow()) for name in ("first", "copy"))
    proposal.record_refused("shadow", f"r1={first}", f"r2={first}")
    proposal.record_refused("shadow", f"r1={first}", f"r2={copy}")
    assert proposal.record("shadow", f"r1={first}") == 0
    proposal.record_refused("shadow", f"r2={copy}")
    assert proposal.record("shadow", f"r1={copy}") == 0  # the same once more


@pytest.mark.parametrize("stage", ["shadow", "canary"])
@pytest.mark.parametrize("same", ["host", "run"])
def test_one_robot_does_not_count_as_two(stage: str, same: str, proposal: Candidate) -> None:
    """It is recorded as r1 and, later or with another name of the machine, as r2."""
    bring_to(proposal, stage)
    make = {"shadow": proposal.shadow, "canary": proposal.trial}[stage]
    later: dict[str, Any] = {"begins_ns": 7} if stage == "shadow" else {"run_time_s": 700.0}
    first = make()
    other = make(**later) if same == "host" else make(host="r2", **first_run(first))
    proposal.record_refused(
        stage,
        f"r1={proposal.report('first', first)}",
        f"r2={proposal.report('other', other)}",
    )
    assert proposal.prove(stage, first) == 0
    proposal.record_refused(stage, f"r2={proposal.report('other', other)}")
    assert proposal.prove(stage, make(host="r2", **later), "r2") == 0


def first_run(report: dict[str, Any]) -> dict[str, Any]:
    """Return what makes another report one about the same flight; a trial is the same anyway."""
    return {key: report[key] for key in ("begins_ns",) if key in report}


def test_older_report_does_not_take_the_place_of_a_newer_one(proposal: Candidate) -> None:
    bring_to(proposal, "shadow")
    good = proposal.report("good", proposal.shadow())
    bad = proposal.report("bad", proposal.shadow(max=[9.0, 0.0]))
    assert proposal.record("shadow", f"r1={good}") == 0
    assert proposal.record("shadow", f"r1={bad}") == 1
    proposal.record_refused("shadow", f"r1={good}")
    later = proposal.report("later", proposal.shadow(max=[2e-5, 1e-5]))
    assert proposal.record("shadow", f"r1={later}") == 0


def test_recording_of_another_policy_than_the_baseline_proves_nothing(proposal: Candidate) -> None:
    """Beside itself a candidate never diverges."""
    bring_to(proposal, "shadow")
    report = proposal.shadow() | {"bundle_sha256": proposal.sha256}
    proposal.record_refused("shadow", f"r1={proposal.report('replay', report)}")


@pytest.mark.parametrize(
    ("trial", "code"),
    [
        ({}, 0),
        ({"state": "kept"}, 0),
        ({"state": "open"}, 4),
        ({"state": "ended", "reason": "by a person"}, 4),
        ({"state": "failed", "reason": "tilt_rad 0.7, limit 0.5"}, 1),
        ({"state": "none"}, 4),
        ({"run_time_s": 2.5}, 4),
        ({"version_before": "0.9.0"}, 4),
        ({"unchecked_gates": ["falls", "tilt_rad"]}, 4),
        ({"state": "failed", "reason": "falls", "version_before": "0.9.0"}, 1),
    ],
)
def test_canary_is_what_the_trial_says(
    trial: dict[str, Any], code: int, proposal: Candidate
) -> None:
    bring_to(proposal, "canary")
    assert proposal.prove("canary", proposal.trial(**trial)) == code


def test_release_may_allow_trials_without_a_gate(proposal: Candidate) -> None:
    canary = {"min_robots": 1, "min_minutes": 5.0, "unchecked_gates": ["temperature_c"]}
    proposal.limit(simulation=None, shadow=None, canary=canary)
    assert proposal.prove("canary", proposal.trial(unchecked_gates=["temperature_c"])) == 0


@pytest.mark.parametrize(
    ("healths", "code"),
    [
        ({"r1": "healthy"}, 4),
        ({"r1": "healthy", "r2": "healthy"}, 0),
        ({"r1": "healthy", "r2": "healthy", "r3": "old", "r4": "unknown"}, 4),
        ({"r1": "healthy", "r2": "bad", "r3": "bad"}, 1),
        ({"r1": "healthy", "r2": "healthy", "r3": "healthy", "r4": "bad"}, 0),
    ],
)
def test_production_needs_a_share_of_healthy_robots(
    healths: dict[str, str], code: int, proposal: Candidate
) -> None:
    share = 0.75 if "r4" in healths else 0.66
    reword(
        proposal.file, ("min_robots: 1", "min_robots: 2"), ("min_share: 1.0", f"min_share: {share}")
    )
    bring_to(proposal, "production")
    assert proposal.prove("production", proposal.fleet(**healths)) == code


@pytest.mark.parametrize(
    "document",
    [{}, [], {"kind": "another"}, {"kind": "release_simulation", "bundle_sha256": "0" * 64}],
    ids=["nothing", "list", "kind", "bundle"],
)
def test_reports_about_something_else_are_refused(document: Any, proposal: Candidate) -> None:
    before = proposal.file.read_bytes()
    proposal.record_refused("simulation", proposal.report("sim", document))
    assert proposal.file.read_bytes() == before


def test_evidence_is_of_the_present_stage_and_beside_the_release(
    proposal: Candidate, tmp_path: Path
) -> None:
    proposal.record_refused("shadow", proposal.report("replay", proposal.shadow()))
    far = tmp_path / "far.json"
    far.write_text(json.dumps(proposal.simulation()), "utf-8")
    proposal.record_refused("simulation", far)
    assert proposal.record("simulation") == 4


@pytest.mark.parametrize(
    "change", [("walk_s: 20.0", "walk_s: 5.0"), ("by: me", "by: Eve")], ids=["limit", "history"]
)
def test_what_was_decided_cannot_be_changed_later(
    change: tuple[str, str], proposal: Candidate
) -> None:
    assert proposal.prove("simulation", proposal.simulation()) == 0
    reword(proposal.file, change)
    with refusal(ToolError):
        read_release(proposal.file)


def test_two_that_write_at_once_lose_nothing(proposal: Candidate) -> None:
    seen = read_release(proposal.file)
    assert proposal.prove("simulation", proposal.simulation()) == 0
    with refusal(ToolError):
        add_event(proposal.file, "halted", "simulation", "me", seen=seen)


def test_release_that_ended_takes_no_evidence_and_can_be_taken_back(
    proposal: Candidate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool("release", "halt", proposal.file, "--reason", " ") == 4
    assert tool("release", "halt", proposal.file, "--reason", "rain") == 0
    assert proposal.status()[0] == 1
    assert proposal.prove("simulation", proposal.simulation()) == 4
    assert proposal.promote() == 1
    capsys.readouterr()
    assert tool("release", "rollback", proposal.file, "--reason", "it limps", "--by", "Bo") == 0
    check_wording(capsys.readouterr().out)
    code, found = proposal.status()
    assert (code, found["ended"]["event"]) == (1, "rolled_back")
    for verb in ("rollback", "halt"):
        assert tool("release", verb, proposal.file, "--reason", "again") == 4


def test_release_is_of_a_signed_bundle_and_of_another_than_before(
    proposal: Candidate, make_version: MakeVersion, tmp_path: Path
) -> None:
    output = ("--output", tmp_path / "x.yaml")
    tool_refused("release", "new", make_version("1.2.0"), *output)
    tool_refused("release", "new", proposal.bundle, "--baseline", proposal.bundle, *output)
    assert tool("release", "new", proposal.bundle, "--output", proposal.file) == 4  # is there


def test_release_is_for_the_robot_of_its_baseline(
    proposal: Candidate, make_version: MakeVersion, tmp_path: Path
) -> None:
    wheeled = make_version(
        "0.9.0", ("{names: [hip, knee],", "{names: [hip, knee], robot_names: {knee: wheel},")
    )
    output = ("--output", tmp_path / "x.yaml")
    tool_refused("release", "new", proposal.bundle, "--baseline", wheeled, *output)
    assert not (tmp_path / "x.yaml").exists()
