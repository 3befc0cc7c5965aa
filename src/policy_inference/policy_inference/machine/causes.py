# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Why a device may have become slow, from what it tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policy_inference.machine.numbers import number_in

_LOW_CLOCK, _BUSY_PERCENT, _HOT_C, _PREEMPTED = 0.9, 90.0, 85.0, 20
"""Of the highest frequency; load; temperature near which the boards lower their clocks.

Trip points: 85 degrees on RK3588 (Linux, rk3588-base.dtsi), 95 on RDK S100 (rdk_s_doc).
"""
UNKNOWN = (
    "the device tells nothing; likely a clock governor that saves power, or another program "
    "on the same processor or accelerator"
)


def likely_causes(telemetry: Mapping[str, str]) -> str:
    """Return what speaks for a slow device, and where to look further.

    Args:
        telemetry: Of machine and device, with the unit in the key.
    """
    found = (
        "; ".join(
            [*_clocks(telemetry), *_loads(telemetry), *_heat(telemetry), *_preemptions(telemetry)]
        )
        or UNKNOWN
    )
    return f"{found}; `policy_inference doctor` looks at clocks, governors and limits"


def _clocks(telemetry: Mapping[str, str]) -> Iterator[str]:
    for device, now in _values(telemetry, "_frequency_mhz"):
        highest = dict(_values(telemetry, "_frequency_highest_mhz")).get(device, now)
        if now < _LOW_CLOCK * highest:
            governor = telemetry.get(f"{device}_governor", "")
            chosen = f" (governor {governor})" if governor else ""
            yield f"{device.upper()} clock at {now:.0f} of {highest:.0f} MHz{chosen}"


def _loads(telemetry: Mapping[str, str]) -> Iterator[str]:
    for device, load in _values(telemetry, "_load_percent"):
        if load >= _BUSY_PERCENT:
            yield f"{device.upper()} load {load:.0f} %: more than this policy may be using it"


def _heat(telemetry: Mapping[str, str]) -> Iterator[str]:
    for device, degrees in _values(telemetry, "_temperature_c"):
        if degrees >= _HOT_C:
            yield f"{device.upper()} at {degrees:.0f} °C, where clocks are lowered"


def _preemptions(telemetry: Mapping[str, str]) -> Iterator[str]:
    for thread, count in _values(telemetry, "_preemptions"):
        if count >= _PREEMPTED:
            yield (
                f"the {thread}'s thread was preempted {count:.0f} times: other programs are on "
                "its core; --cpus and --priority keep them off"
            )


def _values(telemetry: Mapping[str, str], unit: str) -> Iterator[tuple[str, float]]:
    for key, value in telemetry.items():
        # A back end of somebody else may have words where numbers are meant.
        if key.endswith(unit) and (number := number_in(value)) is not None:
            yield key[: -len(unit)], number
