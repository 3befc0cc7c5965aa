# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Why a device is slow, in words."""

from policy_inference.machine.telemetry import UNKNOWN, likely_causes
from testkit.wording import check_wording


def test_low_clock_is_named_with_its_governor() -> None:
    check_wording(
        likely_causes(
            {
                "npu_frequency_mhz": "300",
                "npu_frequency_highest_mhz": "1000",
                "npu_governor": "rknpu_ondemand",
            }
        )
    )


def test_load_and_heat_are_named() -> None:
    text = likely_causes(
        {
            "cpu_load_percent": "97",
            "gpu_temperature_c": "91.5",
            "npu_load_percent": "40",
            "npu_temperature_c": "60.0",
        }
    )
    check_wording(text)
    assert "NPU" not in text


def test_a_thread_that_is_preempted_often_is_named() -> None:
    assert not likely_causes({"service_preemptions": "20"}).startswith(UNKNOWN)
    assert likely_causes({"service_preemptions": "19"}).startswith(UNKNOWN)


def test_device_that_tells_nothing_bad_gets_the_usual_causes() -> None:
    healthy = {
        "npu_frequency_mhz": "1000",
        "npu_frequency_highest_mhz": "1000",
        "cpu_load_percent": "20",
    }
    for telemetry in ({}, healthy, {"npu_load_percent": "unknown"}):
        assert likely_causes(telemetry).startswith(UNKNOWN)
    check_wording(likely_causes({}))
