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
LATER = {"torch", "torchvision", "opencv-python-headless"}
"""Those that are newer than LeRobot admits."""


def required() -> dict[str, Requirement]:
    found = (Requirement(text) for text in importlib.metadata.requires("lerobot") or ())
    return {
        one.name: one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def test_all_that_lerobot_requires_is_installed() -> None:
    installed = {dist.name.lower().replace("_", "-") for dist in importlib.metadata.distributions()}

    assert set(required()) - installed <= LEFT_OUT


def test_versions_are_those_that_lerobot_admits() -> None:
    outside = {
        name
        for name, one in required().items()
        if name not in LEFT_OUT and not one.specifier.contains(importlib.metadata.version(name))
    }

    assert outside <= LATER
