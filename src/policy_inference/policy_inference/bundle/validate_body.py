# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-checks that the contracts of all kinds of policies have in common."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

from policy_inference.bundle.body import Body
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.schema import Found, PerJoint, Reader
from policy_inference.interfaces import F64


class BodyValidator:
    """Checks what a contract says of the robot, and adds what is wrong to `reader`."""

    def __init__(self, body: Body, reader: Reader) -> None:
        """Keep both at hand."""
        self.body = body
        self.names = body.joints.names
        self.reader = reader

    def joints(self) -> None:
        """Check the arrays of `joints` and that the default lies inside the limits."""
        joints = self.body.joints
        self.unique("joints.names", self.names)
        self._robot_names()
        values = {
            key: self.values(f"joints.{key}", getattr(joints, key))
            for key in ("default_position", "position_min", "position_max", "velocity_limit",
                        "effort_limit", "stiffness", "damping")
        }  # fmt: skip
        self.range("joints.position_min", values["position_min"], values["position_max"])
        self.inside("joints.default_position", values["default_position"])

    def _robot_names(self) -> None:
        """Check that each joint of the robot has one name here, and no other joint's."""
        joints, key = self.body.joints, "joints.robot_names"
        try:
            found = joints.on_robot()
        except ValueError as error:
            expected, text = error.args
            self.reader.problem(key, expected, Found(text))
            return
        if joints.robot_names:
            self.unique(key, found)
        for name, there in zip(self.names, found, strict=True):
            if not there or there != there.strip():
                self.reader.problem(f"{key} of {name}", "a name", there)
            elif there != name and there in self.names:
                self.reader.problem(f"{key} of {name}", "a name that is no other joint's here, "
                                    "since recordings may go by either", there)

    def stand_and_damp(self) -> None:
        """Check the arrays of `stand` and `damp`."""
        stand = self.body.stand
        self.inside("stand.position", self.values("stand.position", stand.position))
        for i, via in enumerate(stand.via):
            key = f"stand.via[{i}].position"
            self.inside(key, self.values(key, via.position))
        for key in ("stiffness", "damping", "tolerance"):
            self.values(f"stand.{key}", getattr(stand, key))
        self.values("damp.damping", self.body.damp.damping)

    def nominal(self) -> None:
        """Check the arrays of `nominal` that are per joint."""
        if self.body.nominal is not None:
            self.values("nominal.target_step", self.body.nominal.target_step)
            self.values("nominal.effort_demand", self.body.nominal.effort_demand)

    def paths(self, paths: Mapping[str, str]) -> None:
        """Check that no path, given by its key, leaves the bundle."""
        for key, path in paths.items():
            if not _leads_inside(path):
                self.reader.problem(f"{key}.file", "a path inside the bundle folder, "
                                    "with / between its parts", path)

    def reports(self, reports: Iterable[str], artifacts: Collection[str]) -> None:
        """Check that each report belongs to an artifact."""
        for key in sorted(set(reports) - set(artifacts)):
            self.reader.problem(f"reports.{key}", f"one of the artifacts ({listed(artifacts)})",
                                key)

    def values(self, key: str, value: PerJoint, names: Sequence[str] | None = None) -> F64 | None:
        """Return one number for each name (the joints unless given); None: they do not fit."""
        try:
            return per_joint(value, self.names if names is None else names)
        except ValueError as error:
            expected, found = error.args
            self.reader.problem(key, expected, Found(found))
            return None

    def range(self, key: str, lower: F64 | None, upper: F64 | None) -> None:
        """Check that each lower value is below the upper one."""
        if lower is None or upper is None:
            return
        for i in np.flatnonzero(lower >= upper):
            self.reader.problem(f"{key} of {self.names[i]}", f"less than the maximum {upper[i]:g} "
                                "rad", lower[i].item())

    def inside(self, key: str, position: F64 | None) -> None:
        """Check that positions are inside the position limits."""
        joints = self.body.joints
        lower = self._quiet(joints.position_min)
        upper = self._quiet(joints.position_max)
        if position is None or lower is None or upper is None:
            return
        for i in np.flatnonzero((lower < upper) & ((position < lower) | (position > upper))):
            self.reader.problem(f"{key} of {self.names[i]}",
                                f"a value in [{lower[i]:g}, {upper[i]:g}] rad", position[i].item())

    def _quiet(self, value: PerJoint) -> F64 | None:
        try:
            return per_joint(value, self.names)
        except ValueError:
            return None

    def known(self, key: str, names: Iterable[str]) -> None:
        """Check that all names are those of joints, each once."""
        for name in names:
            if name not in self.names:
                self.reader.problem(key, "names of joints.names", name)
        self.unique(key, list(names))

    def unique(self, key: str, names: Sequence[str]) -> None:
        """Check that no name stands twice."""
        for name, count in Counter(names).items():
            if count > 1:
                self.reader.problem(key, "each name once", Found(f"{name!r} {count} times"))

    def ordered(self, key: str, clip: tuple[float, ...] | None) -> None:
        """Check that a range is one."""
        if clip is not None and not clip[0] < clip[1]:
            self.reader.problem(key, "lowest < highest", list(clip))


def listed(names: Iterable[str]) -> Found:
    """Return names in a few words."""
    return Found(", ".join(names) or "nothing")


def _leads_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    anchored = PurePosixPath(path).anchor or PureWindowsPath(path).anchor
    return bool(parts) and not anchored and ".." not in parts and "\\" not in path
