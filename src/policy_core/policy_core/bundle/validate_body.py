# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-checks that apply to contracts of all policy kinds."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

from policy_core.bundle.body import SENSITIVITY, AnyContract, Body
from policy_core.bundle.bundle import HOSTED_FILES
from policy_core.bundle.contract import File, Normalisation
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.store import RECORD_FILE
from policy_core.interfaces import F64

_RESERVED, _SIGNATURE = (*HOSTED_FILES, RECORD_FILE), ".sig"
"""Names of files that the store writes into a version's folder, and ending of a signature."""


class BodyValidator:
    """Checks a resolved contract's robot description, and adds problems to `reader`."""

    def __init__(self, body: Body, reader: Reader) -> None:
        self.body = body
        self.names = body.joints.names
        self.reader, self.expect = reader, reader.expect

    def joints(self) -> None:
        """Check names and limits, and that the default position lies within the limits."""
        joints = self.body.joints
        self.unique("joints.names", self.names)
        self._robot_names()
        for i in np.flatnonzero(joints.position_min >= joints.position_max):
            self.reader.problem(
                f"joints.position_min of {self.names[i]}",
                f"less than the maximum of {joints.position_max[i]:g} rad",
                joints.position_min[i].item(),
            )
        self.inside("joints.default_position", joints.default_position)

    def _robot_names(self) -> None:
        """Check that each joint's name on the robot is valid, and that no other joint uses it."""
        key, robot_names = "joints.robot_names", self.body.joints.robot_names
        if [*robot_names.values()] != [*robot_names]:
            self.unique(key, [*robot_names.values()])
        for name, there in robot_names.items():
            is_name = bool(there) and there == there.strip()
            self.expect(is_name, f"{key} of {name}", "a name", there)
            self.expect(
                not is_name or there == name or there not in self.names,
                f"{key} of {name}",
                "a name that no other joint has (recordings may use either name)",
                there,
            )

    def stand(self) -> None:
        """Check the poses and gains of `stand`."""
        stand = self.body.stand
        self.inside("stand.position", stand.position)
        for i, via in enumerate(stand.via):
            self.inside(f"stand.via[{i}].position", via.position)
        self._without_pose(stand.stiffness, stand.damping)

    def free_joints(self) -> Collection[str]:
        """Return the joints that need no stand pose, such as wheels; empty for most robots."""
        return ()

    def _without_pose(self, stiffness: F64, damping: F64) -> None:
        """Check the joints that have no position gain while the robot stands."""
        free, holds = self.free_joints(), self.body.safety.on_fault == "hold_measured"
        for i in np.flatnonzero(stiffness == 0.0):
            name, key = self.names[i], f"stand.stiffness of {self.names[i]}"
            if name not in free:
                why = (
                    "only joints that the action drives by velocity or effort can do without a "
                    "stand pose"
                )
            elif holds:
                why = "on_fault: hold_measured holds the joint with this stiffness"
            elif damping[i] == 0.0:
                key = f"stand.damping of {name}"
                why = "with a stand.stiffness of 0, nothing else brakes the joint"
            else:
                continue
            self.reader.problem(key, "a number > 0", 0.0, why)

    def paths(
        self, contract: AnyContract, others: Mapping[str, File | Normalisation | None]
    ) -> None:
        """Check that no path leaves the bundle, for models, reports and the `others` (by key)."""
        stated = {
            **{
                f"{key}.artifacts.{backend}": artifact
                for key, model in {**contract.models, **contract.encoders}.items()
                for backend, artifact in model.artifacts.items()
            },
            **{f"reports.{key}": report for key, report in contract.reports.items()},
            **others,
        }
        for key, file in stated.items():
            if file is not None:
                self.expect(
                    _leads_inside(file.file),
                    f"{key}.file",
                    "a path inside the bundle folder, with / as separator",
                    file.file,
                )
                self.expect(
                    not _is_reserved(file.file),
                    f"{key}.file",
                    f"another name than {', '.join(_RESERVED)} and *{_SIGNATURE}, which the store "
                    "uses",
                    file.file,
                )

    def reports(self, reports: Iterable[str], artifacts: Collection[str]) -> None:
        """Check that each report belongs to an artifact."""
        own = {*artifacts, *(SENSITIVITY + name for name in artifacts)}
        for key in sorted(set(reports) - own):
            self.reader.problem(
                f"reports.{key}", f"one of the artifacts ({listed(artifacts)})", key
            )

    def inside(self, key: str, position: F64) -> None:
        """Check that a pose [joints], in rad, is within the position limits."""
        lower, upper = self.body.joints.position_min, self.body.joints.position_max
        for i in np.flatnonzero((lower < upper) & ((position < lower) | (position > upper))):
            self.reader.problem(
                f"{key} of {self.names[i]}",
                f"a value in [{lower[i]:g}, {upper[i]:g}] rad",
                position[i].item(),
            )

    def known(self, key: str, names: Iterable[str]) -> None:
        """Check that all names are joints, each listed only once."""
        for name in names:
            self.expect(name in self.names, key, "names from joints.names", name)
        self.unique(key, list(names))

    def unique(self, key: str, names: Sequence[str]) -> None:
        """Check that no name is listed twice."""
        for name, count in Counter(names).items():
            self.expect(count == 1, key, "each name once", Found(f"{name!r} {count} times"))

    def ordered(self, key: str, clip: tuple[float, ...] | None) -> None:
        """Check that the lower bound of a range is less than the upper."""
        if clip is not None:
            self.expect(clip[0] < clip[1], key, "lowest < highest", list(clip))


def listed(names: Iterable[str]) -> Found:
    """Return names as a list for a message; "nothing" if there are none."""
    return Found(", ".join(names) or "nothing")


def _is_reserved(path: str) -> bool:
    name = PurePosixPath(path).name
    return name in _RESERVED or name.endswith(_SIGNATURE)


def _leads_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    anchored = PurePosixPath(path).anchor or PureWindowsPath(path).anchor
    return bool(parts) and not anchored and ".." not in parts and "\\" not in path
