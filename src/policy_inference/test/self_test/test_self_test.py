# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end on its machine: what is measured, what fails, and that nothing is lost on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.bundle.contract import Artifact
from policy_inference.commands.output import write_new
from policy_inference.comparison.limits import Check
from policy_inference.machine.finding import Finding
from policy_inference.machine.machine import Machine
from policy_inference.self_test.document import document
from policy_inference.self_test.joint_trial import WARM_UP_TICKS
from policy_inference.self_test.run import SelfTestRequest, SelfTestResult, self_test
from policy_inference.self_test.text import lines

from .bundles import ROWS, make_bundle
from .vendor import Device, Vendor

Test = Callable[..., SelfTestResult]


def failed(found: SelfTestResult) -> list[Check]:
    assert found.verdict is not None, found.error
    return [check for check in found.verdict.checks if not check]


def figures(found: SelfTestResult) -> Any:
    """Return the report as its reader gets it."""
    return json.loads(json.dumps(document(found), allow_nan=False))


def test_a_device_that_is_right_fast_and_steady_holds(test: Test, bundle: Path) -> None:
    found = test(bundle)

    assert found, found.error
    told = figures(found)
    assert told["holds"]
    assert told["error"] is None
    assert told["bundle"]["version"] == "1.2.3"
    assert told["artifact"]["precision"] == "fp32"
    assert told["details"]["runtime"].startswith("onnxruntime")
    assert told["system"]["python"]
    assert [finding["severity"] for finding in told["findings"]] == ["ok", "warning"]
    assert told["back_to_back"]["runs"] == 5000
    assert told["back_to_back"]["p999_s"] == pytest.approx(0.2e-3)
    assert told["at_rate"]["ticks"] == 500
    assert told["at_rate"]["inference"]["max_s"] == pytest.approx(0.2e-3)
    assert told["at_rate"]["processes"]["this"]["peak_bytes"] > 0


def test_onnx_is_tested_for_real(bundle: Path) -> None:
    found = self_test(SelfTestRequest(folder=bundle, backend="onnx", duration_s=0.3))

    told = figures(found)
    assert told["error"] is None
    assert told["verdict"]["checks"][0]["what"] == "mean absolute error"
    assert told["verdict"]["checks"][0]["holds"]
    assert told["parity"]["count"] == ROWS
    assert told["at_rate"]["wall_s"] > 0.25
    assert sum(told["back_to_back"]["histogram"]["counts"]) == told["back_to_back"]["runs"]


def test_states_of_recurrent_models_are_those_of_the_golden_rows(
    test: Test, tmp_path: Path
) -> None:
    found = test(make_bundle(tmp_path / "recurrent", recurrent=True))

    assert found.parity is not None, found.error
    assert {one.output for one in found.parity.differences} == {"actions", "h_out"}
    assert max(one.max_abs for one in found.parity.differences) < 1e-5
    assert found.verdict is not None
    assert "mean absolute error of h_out" in [check.what for check in found.verdict.checks]


@pytest.mark.parametrize("precision", ["fp16", "fp24"], ids=["known", "unknown"])
def test_a_state_that_is_another_fails_by_the_limits_of_the_precision(
    test: Test, tmp_path: Path, device: Device, precision: str
) -> None:
    def change(time_s: float, actions: Any) -> None:
        if time_s < 0.002:  # a few of the golden rows
            device.outputs["h_out"].fill(10.0)

    device.change = change
    limits = {"vendor": {"mae": 0.5, "closed_loop": {}}}

    found = test(
        make_bundle(tmp_path / "recurrent", recurrent=True, precision=precision, limits=limits)
    )

    (check,) = (check for check in failed(found) if check.what.startswith("mean absolute error"))
    assert check.what == "mean absolute error of h_out"
    assert check.limit == (1e-3 if precision == "fp16" else 0.5)


def test_a_model_that_changes_while_it_runs_fails_with_the_count_of_runs(
    test: Test, bundle: Path, device: Device
) -> None:
    def change(time_s: float, actions: Any) -> None:
        if time_s > 3.0:
            actions += 0.5

    device.change = change

    found = test(bundle)

    (check,) = failed(found)
    runs = ROWS + 5000 + WARM_UP_TICKS + 500
    assert f"golden rows after {runs} runs" in check.where
    assert figures(found)["parity"]["outputs"]["actions"]["mae"] < 1e-5
    assert figures(found)["parity_again"]["after_runs"] == runs
    assert any(
        line.startswith("parity again") and f"after {runs} runs" in line for line in lines(found)
    )


@pytest.mark.parametrize(
    ("rows", "different", "enough"), [(8, 8, True), (7, 7, False), (20, 1, False), (20, 7, False)]
)
def test_few_golden_rows_judge_nothing_and_the_remedy_is_said(
    test: Test, tmp_path: Path, rows: int, different: int, enough: bool
) -> None:
    found = test(make_bundle(tmp_path / "few", rows=rows, different=different))

    assert bool(found) is enough, found.error
    if not enough:
        assert found.verdict is not None
        (text,) = found.verdict.missing
        assert f"expected at least 8 golden rows that differ, found {different}" in text
        assert "`model_tools complete" in text


def test_a_state_that_grows_without_end_is_reported(
    test: Test, tmp_path: Path, device: Device
) -> None:
    device.change = lambda time_s, actions: actions.fill(np.inf if time_s > 5 else 0)

    found = test(make_bundle(tmp_path / "recurrent", recurrent=True))

    assert "ticks with NaN or infinite outputs" in [check.what for check in failed(found)]


def test_another_function_fails_and_the_worst_joint_is_named(
    test: Test, bundle: Path, device: Device
) -> None:
    def change(time_s: float, actions: Any) -> None:
        actions[0, 1] += 0.5

    device.change = change

    found = test(bundle)

    check, again = failed(found)
    assert check.what == again.what == "mean absolute error"
    assert "most in right" in check.where
    assert figures(found)["parity"]["outputs"]["actions"]["worst"]["name"] == "right"


def test_nan_fails_and_is_null_in_the_report(test: Test, bundle: Path, device: Device) -> None:
    device.change = lambda time_s, actions: actions.fill(np.nan)

    found = test(bundle)

    assert [check.what for check in failed(found)] == [
        "mean absolute error",
        "mean absolute error",
        "ticks with NaN or infinite outputs",
    ]
    assert figures(found)["parity"]["outputs"]["actions"]["mae"] is None


def test_limits_of_the_bundle_come_before_those_of_the_precision(
    test: Test, tmp_path: Path, device: Device
) -> None:
    device.change = lambda time_s, actions: np.add(actions, 0.5, out=actions)

    found = test(make_bundle(tmp_path / "coarse", limits={"vendor": {"mae": 0.6}}))

    assert found, found.error


def test_a_device_that_does_not_open_is_reported_with_its_reason(
    test: Test, bundle: Path, device: Device
) -> None:
    device.refuses = "vendor: no device; plug one in"

    found = test(bundle)

    assert not found
    told = figures(found)
    assert told["error"] == "vendor: no device; plug one in"
    assert told["trace"] is None
    assert told["verdict"] is None
    assert [finding["name"] for finding in told["findings"]] == ["driver", "governor"]


def test_what_was_measured_before_a_device_failed_is_kept(
    test: Test, bundle: Path, device: Device
) -> None:
    device.fails_at_s = 5.0

    told = figures(test(bundle))

    assert not told["holds"]
    assert told["error"] == "vendor: the device was lost"
    assert told["parity"]["count"] == ROWS
    assert told["back_to_back"]["runs"] == 5000
    assert told["at_rate"] is None


def test_a_runtime_that_ends_the_process_does_not_end_the_report(
    test: Test, bundle: Path, device: Device
) -> None:
    device.fails_at_s, device.error = 0.0, SystemExit(0)

    assert figures(test(bundle))["error"] == "SystemExit: 0"


def test_an_examination_that_fails_ends_nothing(
    test: Test, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(machine: Machine, artifact: Artifact | None) -> list[Finding]:
        raise RuntimeError("of somebody's package")

    monkeypatch.setattr(Vendor, "examine", fail)

    found = test(bundle)

    assert found, found.error
    assert "of somebody's package" in figures(found)["findings"][0]["found"]


def test_a_sensor_that_fails_ends_nothing_and_is_reported(
    test: Test, bundle: Path, device: Device
) -> None:
    def tell(time_s: float) -> dict[str, str]:
        raise RuntimeError("the sensor is gone")

    device.tell = tell

    found = test(bundle)

    assert found, found.error
    told = "telemetry: RuntimeError: the sensor is gone"
    assert figures(found)["at_rate"]["device"]["unreadable"] == told
    assert any(told in line for line in lines(found))


def test_an_unexpected_error_comes_with_its_place(test: Test, bundle: Path, device: Device) -> None:
    device.fails_at_s, device.error = 0.0, ZeroDivisionError("in the vendor's runtime")

    told = figures(test(bundle))

    assert told["error"] == "ZeroDivisionError: in the vendor's runtime"
    assert "in _run" in told["trace"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"golden": False}, "model.golden: expected a file of golden vectors"),
        ({"backend": "gone"}, "no artifact for the backend 'vendor'"),
    ],
)
def test_a_bundle_that_cannot_be_tested_says_why(
    test: Test, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    found = test(make_bundle(tmp_path / "bundle", **arguments))

    assert not found
    assert message in found.error


def test_a_precision_without_limits_is_measured_and_not_judged(test: Test, tmp_path: Path) -> None:
    found = test(make_bundle(tmp_path / "bundle", precision="fp8"))

    assert not found
    told = figures(found)
    assert "limits.vendor: expected limits for the precision fp8" in told["verdict"]["missing"][0]
    assert told["parity"]["outputs"]["actions"]["mae"] < 1e-5
    assert told["at_rate"]["ticks"] == 500


def test_runs_that_are_too_long_fail_at_both_paces(
    test: Test, bundle: Path, device: Device
) -> None:
    device.run_ms = lambda time_s: 6.0

    found = test(bundle)

    assert [check.what for check in failed(found)] == [
        "inference, p99, back to back, ms",
        "inference, p99, at the policy's rate, ms",
    ]
    assert found.back_to_back is not None
    assert len(found.back_to_back) < 5000  # the time was over before


@pytest.mark.parametrize(("period_ms", "holds"), [(2.5, True), (1.6, False)])
def test_a_model_must_be_faster_than_the_policy_asks_for_it(
    test: Test, tmp_path: Path, device: Device, period_ms: float, holds: bool
) -> None:
    device.run_ms = lambda time_s: 2.0

    found = test(make_bundle(tmp_path / "quick", rate_hz=round(1e3 / period_ms)), duration_s=1.0)

    assert bool(found) is holds, found.error
    if not holds:
        checks = {check.what: check for check in failed(found)}
        assert {
            "inference, p99, back to back, ms",
            "inference, p99, at the policy's rate, ms",
            "preprocessing and inference, p99, ms",
            "ticks missed, share",
        } == set(checks)
        check = checks["inference, p99, at the policy's rate, ms"]
        assert check.limit == pytest.approx(period_ms)
        assert "the limit is the policy's period" in check.where


@pytest.mark.parametrize(("late_every_s", "holds"), [(4.0, True), (0.5, False)])
def test_ticks_that_are_missed_now_and_then_are_counted(
    test: Test, bundle: Path, device: Device, late_every_s: float, holds: bool
) -> None:
    device.run_ms = lambda time_s: 30.0 if time_s % late_every_s < 0.02 and time_s > 2 else 0.2

    found = test(bundle, duration_s=20.0)

    assert bool(found) is holds, found.verdict
    assert found.at_rate is not None
    assert found.at_rate.missed > 0
    assert holds or "ticks missed, share" in [check.what for check in failed(found)]


def test_a_single_late_run_in_ten_thousand_is_shown_and_forgiven(
    test: Test, bundle: Path, device: Device
) -> None:
    device.run_ms = lambda time_s: 8.0 if 0.5 <= time_s < 0.5002 else 0.2

    found = test(bundle)

    assert found
    assert figures(found)["back_to_back"]["max_s"] == pytest.approx(8e-3)


def test_ticks_that_take_longer_than_the_period_are_missed(
    test: Test, bundle: Path, device: Device
) -> None:
    device.run_ms = lambda time_s: 50.0

    told = figures(test(bundle))

    assert told["at_rate"]["missed"] == 2 * told["at_rate"]["ticks"]
    assert not told["holds"]


def test_drift_fails_and_names_what_could_be_the_cause(
    test: Test, bundle: Path, device: Device
) -> None:
    begin_s = 1.0 + 5.0  # 5000 runs of 1 ms, and warm-up ticks

    device.run_ms = lambda time_s: 1.0 if time_s < begin_s + 4.0 else 2.0
    device.tell = lambda time_s: {
        "npu_frequency_mhz": "1000" if time_s < begin_s + 4.0 else "600",
        "npu_temperature_c": "60" if time_s < begin_s + 4.0 else "85",
    }

    (check,) = failed(test(bundle))

    assert check.what == "inference, median of the second half, ms"
    assert (check.value, check.limit) == pytest.approx((2.0, 1.5))
    assert "npu_frequency_mhz 1000 to 600" in check.where
    assert "npu_temperature_c 60 to 85" in check.where
    assert "preemption: this" in check.where


def test_drift_below_a_millisecond_is_jitter(test: Test, bundle: Path, device: Device) -> None:
    device.run_ms = lambda time_s: 0.1 if time_s < 5.0 else 0.9

    assert test(bundle)


@pytest.mark.parametrize(
    ("told", "holds"),
    [
        ({"power_w": "9.5"}, True),
        ({"power_w": "10.5"}, False),
        ({"power_cpu_w": "3", "power_input_w": "12"}, False),
    ],
)
def test_power_is_judged_where_it_is_reported(
    test: Test, bundle: Path, device: Device, told: dict[str, str], holds: bool
) -> None:
    device.tell = lambda time_s: told

    found = test(bundle)

    assert bool(found) is holds
    assert [check.what for check in failed(found)] == ([] if holds else ["power, mean, W"])


def test_power_that_is_not_reported_is_left_out_and_said_so(test: Test, bundle: Path) -> None:
    found = test(bundle)

    assert found
    assert figures(found)["verdict"]["left_out"] == ["power: this machine does not tell it"]


def test_load_is_read_five_times_a_second_while_the_policy_runs(
    test: Test, bundle: Path, device: Device
) -> None:
    device.tell = lambda time_s: {
        "npu_load_percent": f"{time_s:.3f}",
        "npu_governor": "performance",
    }

    told = figures(test(bundle, duration_s=2.0))["at_rate"]["device"]

    assert told["samples"] == 10
    load = told["numbers"]["npu_load_percent"]
    assert load["max"] - load["min"] == pytest.approx(1.8, abs=0.02)
    assert load["first"] < load["mean"] < load["second"]
    assert told["words"] == {"npu_governor": ["performance"]}


def test_a_runtime_with_a_process_of_its_own_is_measured_there(
    test: Test, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).resolve().parents[4]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    found = test(make_bundle(tmp_path / "bundle", backend="apart"), "apart", duration_s=0.2)

    assert found, found.error
    assert set(figures(found)["at_rate"]["processes"]) == {"this", "runtime"}


def test_a_simulator_is_not_judged_on_speed(test: Test, tmp_path: Path, device: Device) -> None:
    device.run_ms = lambda time_s: 30.0

    found = test(make_bundle(tmp_path / "simulated", backend="simulator"), "simulator")

    assert found, found.error
    assert found.verdict is not None
    assert [text.partition(":")[0] for text in found.verdict.left_out] == ["latency and power"]


def test_the_report_does_not_name_its_user(
    test: Test, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = make_bundle(tmp_path / "bundle", golden=False)

    file = tmp_path / "report.json"
    write_new(file, figures(test(folder)), force=False)

    text = file.read_text("utf-8")
    assert json.loads(text)["error"].startswith("~/bundle/policy.yaml: ")
    assert str(tmp_path) not in text


def test_the_terminal_shows_what_failed_and_the_verdict_last(
    test: Test, bundle: Path, device: Device
) -> None:
    device.run_ms = lambda time_s: 6.0

    shown = list(lines(test(bundle)))

    assert shown[0] == "two_joints 1.2.3 on vendor in fp32"
    assert any(line.startswith("warning") and "set performance" in line for line in shown)
    assert sum(line.startswith("fails") for line in shown) == 2
    assert shown[-1].startswith("verdict")
    assert "fails: 7 of 9 limits hold" in shown[-1]
