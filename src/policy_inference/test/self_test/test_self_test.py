# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end on its machine: what is measured, what fails, and that nothing is lost on the way."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.commands.output import write_new
from policy_inference.kinds.joint import JointKind
from policy_inference.self_test.document import document
from policy_inference.self_test.run import SelfTestResult
from policy_inference.self_test.text import lines
from policy_inference.self_test.trial import WARM_UP_TICKS
from testkit.wording import check_wording

from .bundles import ROWS, two_joint_bundle, vendor_arm
from .conftest import Test, failed_names, failing_checks, missing_evidence
from .vendor import Device


def report_figures(found: SelfTestResult) -> Any:
    return json.loads(json.dumps(document(found), allow_nan=False))


def test_a_device_that_is_right_fast_and_steady_holds(test: Test, sound_bundle: Path) -> None:
    found = test(sound_bundle)
    assert found, found.error
    told = report_figures(found)
    assert told["holds"]
    assert told["error"] is None
    assert told["artifact"]["precision"] == "fp32"
    assert told["details"]["runtime"].startswith("onnxruntime")
    assert told["back_to_back"]["runs"] == 5000
    assert told["back_to_back"]["p999_s"] == pytest.approx(0.2e-3)
    assert told["at_rate"]["ticks"] == 500
    assert told["at_rate"]["inference"]["max_s"] == pytest.approx(0.2e-3)
    assert told["at_rate"]["processes"]["this"]["peak_bytes"] > 0
    check_wording(*told["verdict"]["left_out"])  # power that is not reported


@pytest.mark.parametrize("precision", ["fp16", "fp24"], ids=["known", "unknown"])
def test_a_state_that_is_another_fails_by_the_limits_of_the_precision(
    test: Test, tmp_path: Path, vendor_device: Device, precision: str
) -> None:
    def change(time_s: float, actions: Any) -> None:
        if time_s < 0.002:  # a few of the golden rows
            vendor_device.outputs["h_out"].fill(10.0)

    vendor_device.change = change
    limits = {"vendor": {"mae": 0.5, "closed_loop": {}}}
    found = test(
        two_joint_bundle(tmp_path / "recurrent", recurrent=True, precision=precision, limits=limits)
    )
    (check,) = (check for check in failing_checks(found) if check.what.endswith(" h_out"))
    assert check.limit == (1e-3 if precision == "fp16" else 0.5)


Write = Callable[..., Path]
JOINT_RUNS = ROWS + 5000 + WARM_UP_TICKS + 500
CHUNK_RUNS = 5 + 1000 + 76


@pytest.fixture(params=[two_joint_bundle, vendor_arm], ids=["joint", "chunk"])
def write_either(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Write the bundle of a joint policy, or of a chunk policy."""
    return partial(request.param, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("write", "runs"), [(two_joint_bundle, JOINT_RUNS), (vendor_arm, CHUNK_RUNS)]
)
def test_a_model_that_changes_while_it_runs_fails_with_the_count_of_runs(
    test: Test, tmp_path: Path, vendor_device: Device, write: Write, runs: int
) -> None:
    def change(time_s: float, output: Any) -> None:
        if time_s > 5.0 and output.ndim < 4:  # no features of an image
            output += 0.5

    vendor_device.change = change
    found = test(write(tmp_path / "bundle"))
    check = failing_checks(found)[0]
    assert f" {runs} " in check.where
    told = report_figures(found)
    assert max(one["mae"] for one in told["parity"]["outputs"].values()) < 1e-5
    assert told["parity_again"]["after_runs"] == runs
    check_wording(next(line for line in lines(found) if line.startswith("parity again")))


@pytest.mark.parametrize(("rows", "different", "enough"), [(8, 8, True), (20, 1, False)])
def test_few_golden_rows_judge_nothing_and_the_remedy_is_said(
    test: Test, tmp_path: Path, rows: int, different: int, enough: bool
) -> None:
    found = test(two_joint_bundle(tmp_path / "few", rows=rows, different=different))
    assert bool(found) is enough, found.error
    if not enough:
        check_wording(missing_evidence(found))


def test_another_function_fails_with_its_worst_joint_unless_the_bundles_limits_allow_it(
    test: Test, tmp_path: Path, sound_bundle: Path, vendor_device: Device
) -> None:
    def change(time_s: float, actions: Any) -> None:
        actions[0, 1] += 0.5

    vendor_device.change = change
    found = test(sound_bundle)
    check, again = failing_checks(found)
    assert check.what == again.what
    check_wording(f"{check.what}: {check.where}")
    assert report_figures(found)["parity"]["outputs"]["actions"]["worst"]["name"] == "right"
    assert test(two_joint_bundle(tmp_path / "coarse", limits={"vendor": {"mae": 0.6}}))


def test_nan_fails_and_is_null_in_the_report(
    test: Test, write_either: Write, vendor_device: Device
) -> None:
    def change(time_s: float, output: Any) -> None:
        if output.ndim < 4:
            output.fill(np.nan)

    vendor_device.change = change
    found = test(write_either())
    check_wording(failed_names(found))
    assert [one["mae"] for one in report_figures(found)["parity"]["outputs"].values()] == [None]


def test_a_device_that_does_not_open_is_reported_with_its_reason(
    test: Test, sound_bundle: Path, vendor_device: Device
) -> None:
    vendor_device.refuses = "refused"
    found = test(sound_bundle)
    assert not found
    told = report_figures(found)
    assert told["error"] == "refused"
    assert told["trace"] is None
    assert told["verdict"] is None


def test_a_policy_that_a_node_cannot_open_is_reported_before_anything_is_measured(
    test: Test, sound_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(JointKind, "open", fail)
    told = report_figures(test(sound_bundle))
    assert (told["parity"], told["trace"]) == (None, None)
    check_wording(told["error"])


def test_what_was_measured_before_a_device_failed_is_kept(
    test: Test, sound_bundle: Path, vendor_device: Device
) -> None:
    vendor_device.fails_at_s = 5.0
    told = report_figures(test(sound_bundle))
    assert not told["holds"]
    assert told["error"] == str(vendor_device.error)
    assert told["parity"]["count"] == ROWS
    assert told["back_to_back"]["runs"] == 5000
    assert told["at_rate"] is None


@pytest.mark.parametrize("error", [ZeroDivisionError("broken"), SystemExit(0)], ids=repr)
def test_whatever_a_runtime_raises_is_in_the_report_with_its_place(
    test: Test, sound_bundle: Path, vendor_device: Device, error: BaseException
) -> None:
    vendor_device.fails_at_s, vendor_device.error = 0.0, error
    told = report_figures(test(sound_bundle))
    assert told["error"] == f"{type(error).__name__}: {error}"
    assert "in _run" in told["trace"]


def test_a_bundle_without_golden_rows_cannot_be_tested(test: Test, write_either: Write) -> None:
    found = test(write_either(golden=None))
    assert not found
    check_wording(found.error)


def test_a_precision_without_limits_is_measured_and_not_judged(
    test: Test, write_either: Write
) -> None:
    found = test(write_either(precision="int3"))
    assert not found
    told = report_figures(found)
    check_wording(told["verdict"]["missing"][0])
    assert max(each["max_abs"] for each in told["parity"]["outputs"].values()) < 1e-5
    assert told["at_rate"]["ticks"] > 0


def test_a_simulator_is_not_judged_on_speed(
    test: Test, write_either: Write, vendor_device: Device
) -> None:
    vendor_device.run_ms = lambda time_s: 1000.0
    found = test(write_either(backend="simulator"), "simulator")
    assert found, found.error
    assert found.verdict is not None
    check_wording(*found.verdict.left_out)


def test_runs_that_are_too_long_fail_at_both_paces_and_the_verdict_is_shown_last(
    test: Test, sound_bundle: Path, vendor_device: Device
) -> None:
    vendor_device.run_ms = lambda time_s: 6.0
    found = test(sound_bundle)
    check_wording(failed_names(found))
    assert found.back_to_back is not None
    assert len(found.back_to_back) < 5000  # the time was over before
    shown = list(lines(found))
    check_wording(shown[0], shown[-1])
    assert sum(line.startswith("fails") for line in shown) == 2


@pytest.mark.parametrize(("period_ms", "holds"), [(2.5, True), (1.6, False)])
def test_a_model_must_be_faster_than_the_policy_asks_for_it(
    test: Test, tmp_path: Path, vendor_device: Device, period_ms: float, holds: bool
) -> None:
    vendor_device.run_ms = lambda time_s: 2.0
    found = test(
        two_joint_bundle(tmp_path / "quick", rate_hz=round(1e3 / period_ms)), duration_s=1.0
    )
    assert bool(found) is holds, found.error
    if not holds:
        check_wording(failed_names(found))
        check = next(one for one in failing_checks(found) if one.limit == pytest.approx(period_ms))
        check_wording(f"{check.what}: {check.where}")


@pytest.mark.parametrize(("late_every_s", "holds"), [(4.0, True), (0.5, False)])
def test_ticks_that_are_missed_now_and_then_are_counted(
    test: Test, sound_bundle: Path, vendor_device: Device, late_every_s: float, holds: bool
) -> None:
    vendor_device.run_ms = lambda time_s: (
        30.0 if time_s % late_every_s < 0.02 and time_s > 2 else 0.2
    )
    found = test(sound_bundle, duration_s=20.0)
    assert bool(found) is holds, found.verdict
    assert found.at_rate is not None
    assert found.at_rate.missed > 0
    check_wording(failed_names(found))


def test_drift_fails_and_names_what_could_be_the_cause(
    test: Test, sound_bundle: Path, vendor_device: Device
) -> None:
    begin_s = 1.0 + 5.0  # 5000 runs of 1 ms, and warm-up ticks
    vendor_device.run_ms = lambda time_s: 1.0 if time_s < begin_s + 4.0 else 2.0
    vendor_device.tell = lambda time_s: {
        "npu_frequency_mhz": "1000" if time_s < begin_s + 4.0 else "600",
        "npu_temperature_c": "60" if time_s < begin_s + 4.0 else "85",
    }
    (check,) = failing_checks(test(sound_bundle))
    assert (check.value, check.limit) == pytest.approx((2.0, 1.5))
    check_wording(f"{check.what}: {check.where}")


@pytest.mark.parametrize(
    ("told", "holds"),
    [({"power_w": "9.5"}, True), ({"power_cpu_w": "3", "power_input_w": "12"}, False)],
    ids=["below", "input above"],
)
def test_power_is_judged_where_it_is_reported(
    test: Test, sound_bundle: Path, vendor_device: Device, told: dict[str, str], holds: bool
) -> None:
    vendor_device.tell = lambda time_s: told
    found = test(sound_bundle)
    assert bool(found) is holds
    check_wording(failed_names(found))


def test_the_report_does_not_name_its_user(
    test: Test, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = two_joint_bundle(tmp_path / "bundle", golden=False)
    file = tmp_path / "report.json"
    write_new(file, report_figures(test(folder)), force=False)
    text = file.read_text("utf-8")
    assert json.loads(text)["error"].startswith("~/bundle/policy.yaml: ")
    assert str(tmp_path) not in text
