# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with how rows say that the robot moves, in words.

Contacts shake a joint faster than a policy ticks, so that single velocities of a healthy walk may
go against the change of the position: joints are judged by the median of those that move. Measured
on healthy walks: 0.55 to 0.98 for joints, 0.48 to 0.98 for axes, and 0.8 to 1.8 times.

Rows of a log may lie further apart than a tick, even half a step of the gait, after which anything
seems to go against its rate, but with another ratio: only what has the right size has the wrong
sign.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model_tools.calibration.coverage import Agreement, Motion

_FEWEST_PAIRS = 32
_MOVES_RAD_S, _MOVES_RAD = 0.05, 0.01
_AGAINST, _WITH = -0.3, 0.5
"""Correlations below and above which one goes against the other, and with it."""
_OFF = 3.5
"""Times by which a scale is off."""
_ALIKE, _UNITS = 1.5, 20.0
"""Where both are off alike, it is the time between rows; from here on both are in degrees."""
_ELSEWHERE = 0.5
"""Mean correlation of joints with their targets: 0.6 and more in healthy walks, 0.1 to 0.44 with
legs that are exchanged, signs that are mirrored, or without the commands."""
_LISTED = 3


def moved_wrongly(found: Motion) -> Iterator[str]:
    """Yield what no robot does."""
    if found.joints is not None:
        moving = _moving(found.joints, _MOVES_RAD_S)
        if moving.any():
            correlation = float(np.median(found.joints.correlation[moving]))
            ratio = float(np.median(found.joints.ratio[moving]))
            which = _listed([found.joints.names[place] for place in np.flatnonzero(moving)])
            if _is_reversed(correlation, ratio):
                yield (f"the velocities of joints have the other sign than the changes of their "
                       f"positions ({which}; correlation {correlation:.2f}): see the signs in the "
                       "driver")
            elif _is_scaled(correlation, ratio) and not _rate(found):
                yield (f"the velocities of joints are {ratio:.2g} x the changes of their positions "
                       f"({which}): other units or scales, or velocities of the motors before "
                       "their gears")
    if found.body is not None:
        for place in np.flatnonzero(_moving(found.body, _MOVES_RAD_S)):
            axis, correlation = found.body.names[place], found.body.correlation[place]
            ratio = float(found.body.ratio[place])
            if _is_reversed(correlation, ratio):
                yield (f"the angular velocity about {axis} has the other sign than the change of "
                       f"the orientation (correlation {correlation:.2f}): the IMU's gyroscope and "
                       "its orientation are in different frames")
            elif _is_scaled(correlation, ratio) and not _rate(found):
                yield (f"the angular velocity about {axis} is {ratio:.2g} x the change of the "
                       "orientation: other units or scales")


def _is_reversed(correlation: float, ratio: float) -> bool:
    return correlation < _AGAINST and not _is_off(ratio)


def _is_scaled(correlation: float, ratio: float) -> bool:
    return correlation > _WITH and _is_off(ratio)


def moved_elsewhere(found: Motion) -> Iterator[str]:
    """Yield what is another robot's or controller's, or that of joints under other names."""
    if rate := _rate(found):
        yield (f"joints and body both move {rate:.2g} x as far from row to row as in a tick of the "
               "policy: the rows were logged at another rate, which does no harm here; what joints "
               "were sent to is not judged")
        return
    targets = found.targets
    if targets is None:
        return
    moving = _moving(targets, _MOVES_RAD)
    if not moving.any():
        return
    correlation = np.where(moving, targets.correlation, 1.0)
    mean = float(correlation[moving].mean())
    if mean < _ELSEWHERE:
        worst = [f"{targets.names[place]} {correlation[place]:.2f}"
                 for place in np.argsort(correlation)]
        yield (f"the joints do not go where this policy sends them (correlation {mean:.2f} on "
               f"average, {_listed(worst)}): see the names and signs of joints, as left and right "
               "that are exchanged; or another controller was at work, or nobody recorded its "
               "commands")


def _is_off(ratio: float) -> bool:
    return not 1.0 / _OFF < ratio < _OFF


def _rate(found: Motion) -> float | None:
    """Return how many ticks lie between rows, where joints and body say the same of it."""
    ratios = []
    for part in (found.joints, found.body):
        moving = part is not None and _moving(part, _MOVES_RAD_S)
        if part is None or not np.any(moving):
            return None
        ratios.append(float(np.median(part.ratio[moving])))
    alike = 1.0 / _ALIKE < ratios[0] / ratios[1] < _ALIKE
    off = all(map(_is_off, ratios)) and max(ratios) < _UNITS
    return 1.0 / ratios[0] if alike and off else None


def _moving(found: Agreement, least: float) -> npt.NDArray[np.bool_]:
    if found.pairs < _FEWEST_PAIRS:
        return np.zeros(len(found.names), bool)
    return np.asarray((found.stated > least / 10.0) & (found.seen > least)
                      & np.isfinite(found.correlation))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
