# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry: read safely, on a thread of its own, and searched for the cause of slow inferences."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from policy_inference.machine.machine import number_in

_SILENT_S = 3.0
"""A read that takes so long is reported; those of a healthy device take milliseconds."""
_LEAVE_WITHIN_S = 0.2
_LOW_CLOCK, _BUSY_PERCENT, _HOT_C, _PREEMPTED = 0.9, 90.0, 85.0, 20
"""Of the highest frequency; load; temperature near which the boards lower their clocks.

Trip points: 85 degrees on RK3588 (Linux, rk3588-base.dtsi), 95 on RDK S100 (rdk_s_doc).
"""
UNKNOWN = (
    "the device reports no cause; likely a clock governor that saves power, or another program "
    "on the same processor or accelerator"
)


def read_safely(read: Callable[[], Mapping[str, str]]) -> tuple[dict[str, str], str]:
    """Read telemetry; a failure is returned as text, and never raised.

    Args:
        read: Reads values by name, with the unit in the name. It may belong to another package,
            and return or raise anything.

    Returns:
        The values whose name and value are text, and what was wrong; empty where nothing was.
    """
    try:
        found = [*dict(read()).items()]
        plain = {key: value for key, value in found if _is_text(key) and _is_text(value)}
        odd = ", ".join(f"{key!r}: {value!r}" for key, value in found if key not in plain)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a robot must not depend on it
        return {}, f"{type(error).__name__}: {error}"
    return plain, f"expected plain texts, found {odd}" if odd else ""


def _is_text(value: object) -> bool:
    """Return whether it is text that a message can carry: half a surrogate pair cannot."""
    return type(value) is str and value.isprintable()


class TelemetryReader:
    """Reads on request, on a thread of its own: a driver's file that hangs delays nothing else."""

    def __init__(self, sources: Mapping[str, Callable[[], Mapping[str, str]]]) -> None:
        """Start the thread, which waits to be asked.

        Args:
            sources: What reads values, by its name in messages.
        """
        self._sources = sources
        self._asked, self._closed = threading.Event(), False
        self._waiting_since_s: float | None = None
        self._newest: tuple[dict[str, str], list[str]] = {}, []
        self._reported = list[str]()
        self._thread = threading.Thread(target=self._serve, name="telemetry", daemon=True)
        self._thread.start()

    def look(self) -> tuple[dict[str, str], list[str]]:
        """Return the newest values and what is wrong with them, and ask for newer ones.

        There are no values while a read takes longer than some seconds. A problem that the last
        look returned is not returned again. Never blocks.
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
        """Forget what was read so far."""
        self._newest = {}, []

    def close(self) -> None:
        """End the thread; one that hangs is left behind."""
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
    """Return likely causes of slow inferences, and the command that examines further.

    Args:
        telemetry: Of machine and device, with the unit in the key.
    """
    found = (
        "; ".join(
            [*_clocks(telemetry), *_loads(telemetry), *_heat(telemetry), *_preemptions(telemetry)]
        )
        or UNKNOWN
    )
    return f"{found}; `policy_inference self-test` looks at clocks, governors and limits"


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
        # A back end of another package may have words where numbers are expected.
        if key.endswith(unit) and (number := number_in(value)) is not None:
            yield key[: -len(unit)], number
