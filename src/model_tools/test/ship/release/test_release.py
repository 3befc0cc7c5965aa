# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A release goes from stage to stage, on evidence, and no other way."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.ship.registry.push import bundle_digest
from model_tools.ship.release import release_file
from model_tools.ship.release.release_file import add_event, read_release
from policy_inference.bundle import bounded_yaml
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import BundleError
from policy_inference.testing.chunk_bundles import write_chunk_bundle

from ..store.conftest import Bundles, Keys
from ..store.stores import run
from .conftest import Desk

Caplog = pytest.LogCaptureFixture


def status(desk: Desk, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the document of `release status`."""
    capsys.readouterr()
    found = run("release", "status", desk.file, "--json")
    return found, json.loads(capsys.readouterr().out)


def test_release_goes_through_all_stages(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(desk, capsys)[0] == 4
    stages = [
        ("simulation", desk.simulation()),
        ("shadow", desk.shadow()),
        ("canary", desk.trial()),
        ("production", desk.fleet(r1="healthy", r2="healthy")),
    ]
    for number, (stage, report) in enumerate(stages):
        if number:
            assert desk.promote() == 0
        assert desk.record(stage, f"r1={desk.report(stage, report)}") == 0
        code, found = status(desk, capsys)
        assert (code, found["stage"], found["health"]) == (0, stage, "healthy")
    assert [one["by"] for one in found["approved"]] == ["Ada"] * 3
    compared = found["stages"]["shadow"]["robots"]["r1"]
    assert compared["health"] == "healthy"
    assert {"minutes", "max_distance", "rms_steps", "missed_share"} <= compared["figures"].keys()
    assert run("release", "status", desk.file) == 0
    assert f"r1: healthy (minutes {compared['figures']['minutes']:.4g}" in capsys.readouterr().out
    release = read_release(desk.file)
    assert release.digest == bundle_digest(load_bundle(desk.bundle))
    assert release.sha256 == desk.sha256
    assert desk.promote() == 1  # there is no stage after it


class JumpingClock(datetime):
    """A clock that stands in 1970 and in 2106 by turns."""

    years = cycle([1970, 2106])

    @classmethod
    def now(cls, tz: Any = None) -> JumpingClock:
        """Return the next time."""
        return cls(next(cls.years), 1, 1, tzinfo=tz)


def test_clock_that_is_wrong_decides_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_file, "datetime", JumpingClock)
    for stage, report in (
        ("simulation", desk.simulation()),
        ("shadow", desk.shadow()),
        ("canary", desk.trial()),
    ):
        assert desk.record(stage, f"r1={desk.report(stage, report)}") == 0
        assert desk.promote() == 0
    release = read_release(desk.file)
    assert release.stage == "production"
    assert {event.at[:4] for event in release.history} == {"1970", "2106"}


def test_release_of_a_chunk_policy_has_a_shadow_stage(tmp_path: Path, keys: Keys) -> None:
    private, _ = keys()
    new, old = (
        write_chunk_bundle(tmp_path / version, version=version) for version in ("1.1.0", "1.0.0")
    )
    assert run("sign", new, "--key", private) == 0
    desk = Desk(tmp_path, new, old)
    how = ("--baseline", old, "--without", "simulation", "--output", desk.file)

    assert run("release", "new", new, *how) == 0

    assert read_release(desk.file).stage == "shadow"
    report = desk.shadow(rms_steps=None, systematic=None)  # no step of a healthy run is known
    assert desk.record("shadow", f"r1={desk.report('shadow', report)}") == 0
    assert desk.promote() == 0
    assert read_release(desk.file).stage == "canary"


def test_promotion_names_everything_that_is_missing(desk: Desk, caplog: Caplog) -> None:
    report = desk.report("sim", desk.simulation(holds=False, baseline_sha256=None))
    attached = desk.folder / "flight.mcap"
    attached.write_bytes(b"recording")
    evidence = ("--evidence", report, "--attach", attached)
    assert run("release", "record", desk.file, "simulation", *evidence) == 1
    attached.write_bytes(b"another")
    report.unlink()
    assert run("release", "halt", desk.file, "--reason", "rain", "--by", "Bo") == 0
    assert desk.promote() == 1
    for text in (
        "halted by Bo at",
        "simulation: sim: walks cut short: 0",
        "simulation: sim: not compared with 1.0.0, the version before",
        "flight.mcap: was changed after it was recorded",
        "sim.json: No such file",
    ):
        assert text in caplog.text
    assert read_release(desk.file).stage == "simulation"


def to(desk: Desk, stage: str) -> None:
    """Bring a release to a stage."""
    reports = {
        "simulation": desk.simulation(),
        "shadow": desk.shadow(),
        "canary": desk.trial(),
    }
    for before, report in reports.items():
        if before == stage:
            return
        assert desk.record(before, desk.report(before, report)) == 0
        assert desk.promote() == 0


FIGURES = ("max", "rms", "rms_steps", "moves", "gain", "correlation")
EQUAL: dict[str, Any] = {"expected": {"onnx onnx": {"rms": {}, "max": {}}}}
ROUNDED: dict[str, Any] = {
    "expected": {
        "onnx onnx": {"rms": {"hip": 0.01, "knee": 0.01}, "max": {"hip": 0.03, "knee": 0.03}}
    }
}
UNKNOWN: dict[str, Any] = {"expected": {}}
STATED = UNKNOWN | {"max_distance": 0.5, "max_rms_steps": 0.5}
NEAR = {"max": [0.05, 0.05], "rms": [0.011, 0.009], "rms_steps": [0.02, 0.02]}


@pytest.mark.parametrize(
    ("evidence", "change", "health", "reason"),
    [
        (EQUAL, {}, "healthy", ""),
        (EQUAL, {"ticks": {"compared": 100}}, "not_enough", "0.0 min"),
        (EQUAL, {"max": [0.1, 0.7]}, "bad", "distance_ratio"),
        (EQUAL, {"rms": [0.001, 0.0]}, "bad", "rms_ratio"),
        (EQUAL, {"rms": None}, "not_enough", "rms_ratio"),
        (EQUAL, {"rms_steps": None}, "healthy", ""),
        (EQUAL, {"gain": [None, None], "moves": [0.0, 0.0]}, "healthy", ""),
        (EQUAL, {"beyond_limits": 3}, "bad", "beyond_limits_share"),
        (EQUAL, {"ticks": {"failed": 1}}, "bad", "failed_share"),
        (EQUAL, {"ticks": {"not_finite": 1}}, "bad", "failed_share"),
        (EQUAL, {"ticks": {"skipped": 99_000, "lost": 9}}, "healthy", ""),
        (EQUAL, {"backend": "rknn"}, "not_enough", "max_rms_steps"),
        (ROUNDED, NEAR, "healthy", ""),
        (ROUNDED, NEAR | {"rms": [0.02, 0.0]}, "bad", "rms_ratio"),
        (ROUNDED, NEAR | {"max": [0.4, 0.0]}, "bad", "distance_ratio"),
        (ROUNDED, NEAR | {"gain": [0.9, 1.0]}, "bad", "gain_error"),
        (ROUNDED, NEAR | {"gain": [1.0, -1.0]}, "bad", "gain_error"),
        (ROUNDED, NEAR | {"correlation": [1.0, 0.9]}, "bad", "correlation"),
        (ROUNDED, NEAR | {"systematic": {"all": [0.9, 0.8]}}, "bad", "systematic_share"),
        (ROUNDED, NEAR | {"systematic": None}, "not_enough", "systematic_share"),
        # A hip that rests says nothing of gain and correlation; the knee moves.
        (ROUNDED, NEAR | {"moves": [0.05, 0.3], "gain": [0.1, 1.0]}, "healthy", ""),
        (ROUNDED, NEAR | {"moves": [0.05, 0.05]}, "not_enough", "gain_error"),
        (UNKNOWN, NEAR, "not_enough", "max_rms_steps"),
        (STATED, NEAR, "healthy", ""),
        (STATED, NEAR | {"max": [0.1, 0.7]}, "bad", "max_distance"),
        (STATED, NEAR | {"rms_steps": [0.9, 0.1]}, "bad", "rms_steps"),
        (STATED, NEAR | {"gain": [0.9, 1.0]}, "bad", "gain_error"),
        (STATED | {"max_gain_error": 0.2}, NEAR | {"gain": [0.9, 1.0]}, "healthy", ""),
    ],
)
def test_shadow_is_held_against_its_evidence(
    evidence: dict[str, Any],
    change: dict[str, Any],
    health: str,
    reason: str,
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk.limit(**evidence)
    to(desk, "shadow")
    code = desk.record("shadow", f"r1={desk.report('replay', desk.shadow(**change))}")
    assert code == {"healthy": 0, "bad": 1, "not_enough": 4}[health]
    found = status(desk, capsys)[1]
    assert found["health"] == health
    assert reason in " ".join(found["reasons"])


def test_same_weights_are_expected_to_give_the_same_targets(desk: Desk) -> None:
    assert {key: one.is_equal for key, one in read_release(desk.file).expected.items()} == {
        "onnx onnx": True
    }


@pytest.mark.parametrize("stage", ["simulation", "shadow", "canary", "production"])
@pytest.mark.parametrize(
    ("accepted", "meant"),
    [([], False), (["joints.damping"], False), (["joints.stiffness"], True), (["joints"], True)],
)
def test_contract_that_differs_stops_every_stage_until_a_person_accepts_it(
    stage: str,
    accepted: list[str],
    meant: bool,
    tmp_path: Path,
    bundles: Bundles,
    keys: Keys,
    capsys: pytest.CaptureFixture[str],
) -> None:
    softer = bundles("1.1.0", ("effort_limit: 1, stiffness: 1", "effort_limit: 1, stiffness: 0.8"))
    private, _ = keys()
    assert run("sign", softer, "--key", private) == 0
    desk = Desk(tmp_path, softer, bundles("1.0.0"))
    new = ("release", "new", softer, "--baseline", desk.baseline, "--output", desk.file)
    assert run(*new) == 0
    desk.limit(accepted_differences=accepted)
    desk.limit(**{name: None for name in ("simulation", "shadow", "canary") if name != stage})
    report = {
        "simulation": desk.simulation(),
        "shadow": desk.shadow(),
        "canary": desk.trial(),
        "production": desk.fleet(r1="healthy"),
    }[stage]

    code = desk.record(stage, f"r1={desk.report(stage, report)}")

    assert code == (0 if meant else 1)
    reasons = status(desk, capsys)[1]["reasons"]
    assert all("joints.stiffness" in one for one in reasons)
    assert bool(reasons) is not meant
    if stage != "production":
        assert desk.promote() == code


def test_contract_that_a_recording_shows_to_differ_counts_too(desk: Desk) -> None:
    """The recording has the contract that really ran."""
    to(desk, "shadow")
    report = desk.shadow()
    differs = {"key": "joints.damping", "in_use": "1", "candidate": "2"}
    report["shadow"]["contract_differences"] = [differs]
    assert desk.record("shadow", f"r1={desk.report('replay', report)}") == 1


def test_shadow_that_compared_nothing_proves_nothing(desk: Desk) -> None:
    desk.limit(min_minutes=0.0)
    to(desk, "shadow")
    for name, change in (
        ("ticks", {"ticks": {"compared": 0, "skipped": 9000}}),
        ("joints", {key: [] for key in (*FIGURES, "joints")}),
    ):
        assert desk.record("shadow", f"r1={desk.report(name, desk.shadow(**change))}") == 4


@pytest.mark.parametrize(
    "change",
    [
        {"ticks": {"failed": 5, "not_finite": -5}},
        {"beyond_limits": -3},
        {"max": [-9.0, 0.0]},
        {"joints": ["hip", "hip"], "max": [9.0, 0.1]},
        {"rms": [-9.0, 0.0]},
        {"gain": [1.0]},
    ],
)
def test_numbers_that_hide_others_are_refused(change: dict[str, Any], desk: Desk) -> None:
    to(desk, "shadow")
    assert desk.record("shadow", f"r1={desk.report('replay', desk.shadow(**change))}") == 4
    assert read_release(desk.file).evidence("shadow") == {}


def sample(value: str, name: str, robot: str = "r1", **labels: str) -> dict[str, Any]:
    """Return a sample of an answer of Prometheus."""
    metric = {"__name__": f"policy_inference_shadow_{name}", "robot": robot, "node": "/p"}
    return {"metric": metric | labels, "value": [1.0, value]}


def running(sha256: str, robot: str = "r1") -> dict[str, Any]:
    """Return the sample that says what commands a robot."""
    metric = {"__name__": "policy_inference_info", "robot": robot, "node": "/p", "sha256": sha256}
    return {"metric": metric | {"backend": "onnx"}, "value": [1.0, "1"]}


def of_fleet(*samples: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of Prometheus."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}}


def shadowing(sha256: str, robot: str = "r1", distance: str = "0.0001") -> list[dict[str, Any]]:
    """Return the samples of a robot with a shadow, of an hour at 50 Hz."""
    ticks = {"compared": "180000", "beyond_limits": "0"}
    outcomes = ("compared", "skipped", "lost", "failed", "not_finite", "beyond_limits")
    return [
        sample("1", "info", robot, sha256=sha256, backend="onnx"),
        *(sample(ticks.get(one, "0"), "ticks_total", robot, outcome=one) for one in outcomes),
        sample(distance, "distance", robot, joint="hip", statistic="max"),
        sample("9", "distance", robot, joint="hip", statistic="mean"),
        sample("0.00001", "distance", robot, joint="hip", statistic="rms"),
        sample("0.2", "distance_steps", robot, joint="hip", statistic="rms"),
    ]


def test_shadows_of_a_fleet_come_from_prometheus(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    to(desk, "shadow")

    def record(*samples: dict[str, Any]) -> int:
        return desk.record("shadow", desk.report("prometheus", of_fleet(*samples)))

    beside = [running(load_bundle(desk.baseline).sha256, robot) for robot in ("r1", "r2")]
    good = [*shadowing(desk.sha256), *beside]
    assert record() == 4  # an empty answer is no health
    assert record(*shadowing("0" * 64), *beside) == 4
    assert record(sample("1", "info", sha256=desk.sha256), *beside) == 4
    assert record(*shadowing(desk.sha256, distance="NaN"), *beside) == 4
    for others in ([], [running(desk.sha256)]):  # compared with itself, or who knows with what
        assert record(*shadowing(desk.sha256), *others) == 4
        assert "beside the shadow runs another bundle than 1.0.0" in capsys.readouterr().out
    for pair in ([], [1.0], [1.0, "1", "2"]):
        assert record(*good[1:], good[0] | {"value": pair}) == 4
    hidden = [one | {"metric": one["metric"] | {"node": "/q"}} for one in good[:-2]]
    for others in (
        [sample("0", "ok")],  # it ended after that hour
        [sample("-1", "guard_total", rule="rate")],
        hidden,  # of another node or another robot of this name: which one limps?
    ):
        assert record(*good, *others) == 4
    assert record(*good, *shadowing(desk.sha256, "r2", "0.7")) == 1
    assert "shadow: r2: distance_ratio" in capsys.readouterr().out
    assert record(*good, *shadowing(desk.sha256, "r2")) == 0


def test_robots_without_a_shadow_of_this_bundle_do_not_count(
    desk: Desk, caplog: Caplog, capsys: pytest.CaptureFixture[str]
) -> None:
    to(desk, "shadow")
    baseline = load_bundle(desk.baseline).sha256
    good = [*shadowing(desk.sha256), running(baseline)]
    others = [*shadowing("0" * 64, "g1"), running("1" * 64, "g1"), running(baseline, "r2")]
    report = desk.report("shadow", of_fleet(*good, *others))
    assert desk.record("shadow", report) == 0
    assert "ignored 2 of 3 robots" in caplog.text
    assert ": g1, r2" in caplog.text
    assert status(desk, capsys)[1]["stages"]["shadow"]["robots"].keys() == {"r1"}
    not_loaded = [sample("1", "info", "r3", sha256=""), sample("0", "ok", "r3")]
    report = desk.report("later", of_fleet(*good, *not_loaded))
    assert desk.record("shadow", report) == 4
    assert "r3: it does not say that its only shadow is this bundle" in capsys.readouterr().out


def test_report_of_robots_of_another_kind_is_refused_and_a_later_one_counts(
    desk: Desk, caplog: Caplog
) -> None:
    to(desk, "production")
    report = desk.fleet(r1="healthy", g1="old")
    report["robots"][1]["policy"] = "go2_walk@0.2.0"
    assert desk.record("production", desk.report("fleet", report)) == 4
    assert "found 'go2_walk@0.2.0'" in caplog.text
    assert "--inventory FILE --limit GROUP" in caplog.text
    assert desk.record("production", desk.report("limited", desk.fleet(r1="healthy"))) == 0


def test_newest_report_of_a_robot_counts(desk: Desk) -> None:
    to(desk, "shadow")
    good, bad = desk.report("good", desk.shadow()), desk.report("bad", desk.shadow(max=[9.0, 0.0]))
    assert desk.record("shadow", f"r1={good}", f"r2={bad}") == 1
    assert desk.record("shadow", f"r2={desk.report('later', desk.shadow(max=[2e-5, 1e-5]))}") == 0


def test_report_proves_nothing_of_another_robot(desk: Desk, caplog: Caplog) -> None:
    to(desk, "shadow")
    first, copy = desk.report("first", desk.shadow()), desk.report("copy", desk.shadow())
    assert desk.record("shadow", f"r1={first}", f"r2={first}") == 4
    assert desk.record("shadow", f"r1={first}", f"r2={copy}") == 4
    assert desk.record("shadow", f"r1={first}") == 0
    assert desk.record("shadow", f"r2={copy}") == 4
    assert caplog.text.count("found the one that was recorded for r1; each robot needs its") == 3
    assert desk.record("shadow", f"r1={copy}") == 0  # the same once more


def test_older_report_does_not_take_the_place_of_a_newer_one(desk: Desk, caplog: Caplog) -> None:
    to(desk, "shadow")
    good, bad = desk.report("good", desk.shadow()), desk.report("bad", desk.shadow(max=[9.0, 0.0]))
    assert desk.record("shadow", f"r1={good}") == 0
    assert desk.record("shadow", f"r1={bad}") == 1
    assert desk.record("shadow", f"r1={good}") == 4
    assert "expected a report of r1 that is new" in caplog.text


def test_recording_of_another_policy_than_the_baseline_proves_nothing(
    desk: Desk, caplog: Caplog
) -> None:
    """Beside itself a candidate never diverges."""
    to(desk, "shadow")
    report = desk.shadow() | {"bundle_sha256": desk.sha256}
    assert desk.record("shadow", f"r1={desk.report('replay', report)}") == 4
    assert "expected a recording of 1.0.0" in caplog.text


@pytest.mark.parametrize(
    ("trial", "code"),
    [
        ({}, 0),
        ({"state": "kept"}, 0),
        ({"state": "open"}, 4),
        ({"state": "ended", "reason": "by a person"}, 4),
        ({"state": "failed", "reason": "tilt_rad 0.7, limit 0.5"}, 1),
        ({"state": "none"}, 4),
    ],
)
def test_canary_is_what_the_trial_says(trial: dict[str, Any], code: int, desk: Desk) -> None:
    to(desk, "canary")
    assert desk.record("canary", desk.report("r1", desk.trial(**trial))) == code


@pytest.mark.parametrize(
    ("healths", "code"),
    [
        ({"r1": "healthy"}, 4),
        ({"r1": "healthy", "r2": "healthy"}, 0),
        ({"r1": "healthy", "r2": "healthy", "r3": "unknown"}, 0),
        ({"r1": "healthy", "r2": "healthy", "r3": "old", "r4": "unknown"}, 4),
        ({"r1": "healthy", "r2": "healthy", "r3": "bad"}, 0),
        ({"r1": "healthy", "r2": "bad", "r3": "bad"}, 1),
        ({"r1": "healthy", "r2": "healthy", "r3": "healthy", "r4": "bad"}, 0),
    ],
)
def test_production_needs_a_share_of_healthy_robots(
    healths: dict[str, str], code: int, desk: Desk
) -> None:
    text = desk.file.read_text("utf-8")
    assert "  production:\n    min_robots: 1\n    min_share: 1.0" in text
    text = text.replace("min_robots: 1\n    min_share: 1.0", "min_robots: 2\n    min_share: 0.66")
    desk.file.write_text(text.replace("0.66", "0.66" if "r4" not in healths else "0.75"), "utf-8")
    to(desk, "production")
    assert desk.record("production", desk.report("fleet", desk.fleet(**healths))) == code


def test_robot_is_in_the_report_of_a_fleet_once(desk: Desk, caplog: Caplog) -> None:
    to(desk, "production")
    report = desk.fleet(r1="bad")
    report["robots"] += desk.fleet(r1="healthy")["robots"]
    assert desk.record("production", desk.report("fleet", report)) == 4
    assert "expected each robot once, found 'r1'" in caplog.text


def test_empty_fleet_is_no_evidence(desk: Desk, caplog: Caplog) -> None:
    to(desk, "production")
    assert desk.record("production", desk.report("fleet", desk.fleet())) == 4
    assert "an empty answer is no health" in caplog.text


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({}, "expected a value, found no such key"),
        ([], "expected a mapping"),
        ({"kind": "another"}, "expected release_simulation"),
        (
            {"kind": "release_simulation", "bundle_sha256": "0" * 64},
            "the policy.yaml of tiny 1.1.0",
        ),
    ],
)
def test_reports_about_something_else_are_refused(
    document: Any, match: str, desk: Desk, caplog: Caplog
) -> None:
    before = desk.file.read_bytes()
    assert desk.record("simulation", desk.report("sim", document)) == 4
    assert match in caplog.text
    assert desk.file.read_bytes() == before


def test_evidence_is_of_the_present_stage_and_beside_the_release(
    desk: Desk, tmp_path: Path, caplog: Caplog
) -> None:
    assert desk.record("shadow", desk.report("replay", desk.shadow())) == 4
    assert "the stage that it has come to, simulation, found some of shadow" in caplog.text
    far = tmp_path / "far.json"
    far.write_text(json.dumps(desk.simulation()), "utf-8")
    assert desk.record("simulation", far) == 4
    assert "expected evidence in the folder of the release" in caplog.text
    assert desk.record("simulation") == 4


@pytest.mark.parametrize("change", [("walk_s: 20.0", "walk_s: 5.0"), ("by: me", "by: Eve")])
def test_what_was_decided_cannot_be_changed_later(change: tuple[str, str], desk: Desk) -> None:
    assert desk.record("simulation", desk.report("sim", desk.simulation())) == 0
    text = desk.file.read_text("utf-8")
    assert change[0] in text
    desk.file.write_text(text.replace(*change), "utf-8")
    with pytest.raises(ToolError, match="was changed since; take the file from git again"):
        read_release(desk.file)


def test_limits_can_be_changed_before_the_first_evidence(desk: Desk) -> None:
    text = desk.file.read_text("utf-8")
    desk.file.write_text(text.replace("walk_s: 20.0", "walk_s: 5"), "utf-8")
    assert desk.record("simulation", desk.report("sim", desk.simulation())) == 0
    stage = read_release(desk.file).stages.simulation
    assert stage is not None
    assert stage.walk_s == 5.0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("kind: release", "kind: channel"), "kind: expected one of release"),
        (("min_robots: 1", "min_robots: 0"), "min_robots: expected a whole number >= 1"),
        (("name: tiny", "name: tiny\nmore: 1"), "one of the keys"),
        (("sha256: ", "sha256: x"), "sha256: expected text like"),
    ],
)
def test_file_is_read_strictly(change: tuple[str, str], match: str, desk: Desk) -> None:
    desk.file.write_text(desk.file.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(BundleError, match=match):
        read_release(desk.file)


def test_two_that_write_at_once_lose_nothing(desk: Desk) -> None:
    seen = read_release(desk.file)
    assert desk.record("simulation", desk.report("sim", desk.simulation())) == 0
    with pytest.raises(ToolError, match="found a change; try again"):
        add_event(desk.file, "halted", "simulation", "me", seen=seen)


def test_full_disk_leaves_the_release_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("policy_inference.safe_files.os.fsync", full)
    assert desk.record("simulation", desk.report("sim", desk.simulation())) == 4
    assert desk.file.read_bytes() == before
    assert sorted(path.name for path in desk.folder.iterdir()) == ["sim.json", desk.file.name]


def test_release_that_ended_takes_no_evidence(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    to(desk, "canary")
    assert run("release", "rollback", desk.file, "--reason", "it limps", "--by", "Bo") == 0
    assert (
        "version before: 1.0.0; on each robot: `model_tools rollback tiny`"
        in capsys.readouterr().out
    )
    assert desk.record("canary", desk.report("r1", desk.trial())) == 4
    assert desk.promote() == 1
    assert run("release", "rollback", desk.file, "--reason", "again") == 4
    assert run("release", "halt", desk.file, "--reason", "again") == 4


def test_halted_release_can_be_taken_back(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("release", "halt", desk.file, "--reason", " ") == 4
    assert run("release", "halt", desk.file, "--reason", "rain") == 0
    assert status(desk, capsys)[0] == 1
    assert run("release", "rollback", desk.file, "--reason", "rain") == 0
    code, found = status(desk, capsys)
    assert (code, found["ended"]["event"]) == (1, "rolled_back")


def test_stages_that_are_left_out_are_passed_over(desk: Desk, tmp_path: Path) -> None:
    desk.file = tmp_path / "releases/short.yaml"
    options = ("--without", "simulation", "--without", "shadow", "--output", desk.file)
    assert run("release", "new", desk.bundle, *options) == 0
    assert read_release(desk.file).asked == ("canary", "production")
    assert desk.record("canary", desk.report("r1", desk.trial())) == 0
    assert desk.promote() == 0


def test_first_release_has_no_shadow(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    assert run("release", "new", desk.bundle, "--output", file) == 0
    assert "shadow" not in read_release(file).asked


def test_release_is_of_a_signed_bundle_and_of_another_than_before(
    desk: Desk, bundles: Bundles, caplog: Caplog, tmp_path: Path
) -> None:
    output = ("--output", tmp_path / "x.yaml")
    assert run("release", "new", bundles("1.2.0"), *output) == 4
    assert "expected a signed bundle" in caplog.text
    assert run("release", "new", desk.bundle, "--baseline", desk.bundle, *output) == 4
    assert "expected another version of tiny" in caplog.text
    assert run("release", "new", desk.bundle, "--output", desk.file) == 4  # is there


def test_release_is_for_the_robot_of_its_baseline(
    desk: Desk, bundles: Bundles, caplog: Caplog, tmp_path: Path
) -> None:
    wheeled = bundles(
        "0.9.0", ("{names: [hip, knee],", "{names: [hip, knee], robot_names: {knee: wheel},")
    )
    output = ("--output", tmp_path / "x.yaml")
    assert run("release", "new", desk.bundle, "--baseline", wheeled, *output) == 4
    assert "expected the joints of the version before, hip, wheel, found hip, knee" in caplog.text
    assert not (tmp_path / "x.yaml").exists()


def test_status_is_text_for_people(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("release", "status", desk.file) == 4
    assert "`model_tools release record ... simulation --bundle`" in capsys.readouterr().out
    to(desk, "shadow")
    capsys.readouterr()
    assert run("release", "status", desk.file) == 4
    assert capsys.readouterr().out.splitlines() == [
        "tiny 1.1.0: in shadow",
        "  simulation: healthy (1 reports)",
        "    simulation: healthy (checks 1, failed 0)",
        "  shadow: no evidence (0 reports)",
        "  canary: no evidence (0 reports)",
        "  production: no evidence (0 reports)",
        "  shadow: 0 healthy robots, expected 1",
    ]


def test_nothing_is_written_that_cannot_be_read(desk: Desk) -> None:
    release = read_release(desk.file)
    with pytest.raises(BundleError):
        add_event(desk.file, "halted", "orbit", "me", seen=release)  # type: ignore[arg-type]
    assert read_release(desk.file) == release
    assert release_file.STAGES == ("simulation", "shadow", "canary", "production")


def test_evidence_leaves_room_to_halt_the_release(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: Caplog
) -> None:
    to(desk, "production")
    monkeypatch.setattr(bounded_yaml, "MOST_VALUES", 800)
    robots = {f"r{number}": "healthy" for number in range(30)}
    for wave in range(20):
        if desk.record("production", desk.report(f"fleet_{wave}", desk.fleet(**robots))) != 0:
            break
    assert wave == 1
    assert "expected evidence for which the file has room, 800 values" in caplog.text
    assert run("release", "halt", desk.file, "--reason", "rain", "--by", "Bo") == 0
