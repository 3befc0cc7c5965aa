# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup-lerobot` installs what LeRobot requires: none of its commands lacks a part."""

from __future__ import annotations

import importlib.metadata

from packaging.requirements import Requirement

LEFT_OUT = {
    "cmake",  # builds a package that is no longer required
    "torchcodec",
}  # videos are read by torchvision


EXTRAS = ("", "core-scripts", "diffusion", "dynamixel", "feetech", "training")
"""Parts of what LeRobot's commands and servos need; before 0.6 the most of it needed no name."""


def required() -> dict[str, Requirement]:
    """Return what LeRobot requires by name, with what its extras require of one another."""
    texts = importlib.metadata.requires("lerobot") or ()
    everything = [Requirement(text) for text in texts]
    found, extras = dict[str, Requirement](), list(EXTRAS)
    for extra in extras:
        for one in everything:
            if one.marker is not None and not one.marker.evaluate({"extra": extra}):
                continue
            if one.name == "lerobot":
                extras += one.extras - {*extras}
            else:
                found[one.name.lower()] = one
    return found


def test_all_that_lerobot_requires_is_installed() -> None:
    installed = {dist.name.lower().replace("_", "-") for dist in importlib.metadata.distributions()}

    assert set(required()) - installed <= LEFT_OUT
