# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry: robust reads on a separate thread, and likely causes of slow inference."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policy_inference.machine.machine import Machine, number_in

_ZONES = "/sys/class/thermal/thermal_zone*"
_GUESTS = 8
"""Index of `guest` in psutil's CPU times; `user` already includes guest times (proc_stat(5))."""


def temperature_values(machine: Machine, device: str, *types: str) -> dict[str, str]:
    """Return the highest temperature of a device's thermal zones as telemetry.

    Files and units: Linux, Documentation/ABI/testing/sysfs-class-thermal, millidegrees.

    Args:
        machine: File system that holds the kernel's files.
        device: Device name to use in the key.
        types: Lower-case substrings of the zone types.
    """
    zones = [
        zone
        for zone in machine.glob(_ZONES)
        if any(part in (machine.text(zone / "type") or "").lower() for part in types)
    ]
    return hottest(device, [machine.number(zone / "temp") for zone in zones])


def hottest(device: str, millidegrees: list[float | None]) -> dict[str, str]:
    """Return the highest temperature as telemetry, ignoring disabled sensors."""
    known = [value for value in millidegrees if value is not None and value > 0]
    return {f"{device}_temperature_c": f"{max(known) * 1e-3:.1f}"} if known else {}


class Host:
    """Reads processor load, available memory and processor temperature.

    psutil skips thermal zones if the kernel has other sensors, as on a Jetson, so this class reads
    them itself.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._times: Any = None

    def read(self) -> Mapping[str, str]:
        """Return memory, temperature, and load since the last call; keys include the units."""
        import psutil  # only now: a node's start does not wait for it

        # Not psutil.cpu_percent: it counts since this thread's last call, even by other code.
        before, self._times = self._times, psutil.cpu_times()
        return {
            **(self._load(before) if before else {}),
            "memory_available_mib": f"{psutil.virtual_memory().available / 2**20:.0f}",
            **temperature_values(self._machine, "cpu", "cpu", "soc", "x86_pkg"),
        }

    def _load(self, before: Any) -> dict[str, str]:
        spent = [now - then for now, then in zip(self._times, before, strict=True)]
        total = sum(spent[:_GUESTS])
        idle = self._times.idle - before.idle + self._times.iowait - before.iowait
        return {"cpu_load_percent": f"{100 * (1 - idle / total):.0f}"} if total > 0 else {}


_SILENT_S = 3.0
"""Duration after which an unfinished read is reported; healthy devices answer in milliseconds."""
_LEAVE_WITHIN_S = 0.2
_LOW_CLOCK, _BUSY_PERCENT, _HOT_C, _PREEMPTED = 0.9, 90.0, 85.0, 20
"""Thresholds: share of the highest frequency; load; temperature near which boards lower their
clocks; number of preemptions.

Trip points: 85 degrees on RK3588 (Linux, rk3588-base.dtsi), 95 on RDK S100 (rdk_s_doc).
"""
UNKNOWN = (
    "the device reports no cause; likely a power-saving clock governor, or another program "
    "on the same processor or accelerator"
)


def read_safely(read: Callable[[], Mapping[str, str]]) -> tuple[dict[str, str], str]:
    """Read telemetry; return a failure as text instead of raising an error.

    Args:
        read: Reads values by name, with the unit in the name. This may be another package's code,
            so it may return or raise anything.

    Returns:
        The entries whose name and value are both text, and the problem, which may be empty.
    """
    try:
        found = [*dict(read()).items()]
        plain = {key: value for key, value in found if _is_text(key) and _is_text(value)}
        odd = ", ".join(f"{key!r}: {value!r}" for key, value in found if key not in plain)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a robot must not depend on it
        return {}, f"{type(error).__name__}: {error}"
    return plain, f"expected plain texts, found {odd}" if odd else ""


def _is_text(value: object) -> bool:
    """Return True for text that a message can carry, which excludes unpaired surrogates."""
    return type(value) is str and value.isprintable()


class TelemetryReader:
    """Reads telemetry on request, on its own thread, so a hung driver delays nothing else."""

    def __init__(self, sources: Mapping[str, Callable[[], Mapping[str, str]]]) -> None:
        """Start the thread, which waits for requests.

        Args:
            sources: Functions that read values, by the source's name in messages.
        """
        self._sources = sources
        self._asked, self._closed = threading.Event(), False
        self._waiting_since_s: float | None = None
        self._newest: tuple[dict[str, str], list[str]] = {}, []
        self._reported = list[str]()
        self._thread = threading.Thread(target=self._serve, name="telemetry", daemon=True)
        self._thread.start()

    def look(self) -> tuple[dict[str, str], list[str]]:
        """Return the newest values and their problems, and request newer ones.

        Returns no values once a read has taken more than a few seconds. Does not repeat a problem
        that the last call returned. Never blocks.
        """
        found, problems = self._look()
        new = [text for text in problems if text not in self._reported]
        self._reported = problems
        return found, new

    def _look(self) -> tuple[dict[str, str], list[str]]:
        now_s, since_s = time.monotonic(), self._waiting_since_s
        if since_s is None:
            self._waiting_since_s = now_s
            self._asked.set()
        elif now_s - since_s > _SILENT_S:
            return {}, [f"telemetry: no answer for more than {_SILENT_S:g} s; a driver hangs"]
        return self._newest

    def forget(self) -> None:
        self._newest = {}, []

    def close(self) -> None:
        """Stop the thread; if it hangs, leave it behind."""
        self._closed = True
        self._asked.set()
        self._thread.join(_LEAVE_WITHIN_S)

    def _serve(self) -> None:
        while self._asked.wait() and not self._closed:
            self._asked.clear()
            self._newest = self._read()
            self._waiting_since_s = None

    def _read(self) -> tuple[dict[str, str], list[str]]:
        found: dict[str, str] = {}
        problems = []
        for name, read in self._sources.items():
            values, wrong = read_safely(read)
            found |= values
            if wrong:
                problems.append(f"{name}: telemetry: {wrong}")
        return found, problems


def likely_causes(telemetry: Mapping[str, str]) -> str:
    """Return the likely causes of slow inference, and the command for further checks.

    Args:
        telemetry: Telemetry for the machine and the device, with the unit in each key.
    """
    found = (
        "; ".join(
            [*_clocks(telemetry), *_loads(telemetry), *_heat(telemetry), *_preemptions(telemetry)]
        )
        or UNKNOWN
    )
    return f"{found}; `policy_inference self-test` checks clocks, governors and limits"


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
            yield f"{device.upper()} load {load:.0f} %: another program may be using it"


def _heat(telemetry: Mapping[str, str]) -> Iterator[str]:
    for device, degrees in _values(telemetry, "_temperature_c"):
        if degrees >= _HOT_C:
            yield f"{device.upper()} at {degrees:.0f} °C, hot enough to throttle the clock"


def _preemptions(telemetry: Mapping[str, str]) -> Iterator[str]:
    for thread, count in _values(telemetry, "_preemptions"):
        if count >= _PREEMPTED:
            yield (
                f"the {thread}'s thread was preempted {count:.0f} times: other programs are on "
                "its core; --cpus and --priority keep them off"
            )


def _values(telemetry: Mapping[str, str], unit: str) -> Iterator[tuple[str, float]]:
    for key, value in telemetry.items():
        # A back end of another package may return words instead of numbers.
        if key.endswith(unit) and (number := number_in(value)) is not None:
            yield key[: -len(unit)], number
