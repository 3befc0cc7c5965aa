# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes of all kinds of policies, each with its robot and with bundles that it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from policy_msgs.srv import SwitchState

from policy_core.bundle.verified import sha256_file
from policy_inference.nodes.act_policy_node import ActPolicyNode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.policy_set_node import PolicySetNode
from testkit.edits import Edits

from .arm import Arm
from .bundles import CONTRACT, write_version
from .colour_bundle import write_colours
from .harness import Robot

IN_USE = "1.2.3"
OLDER, NEWER = "1.2.4", "1.3.0"
"""Installed versions, the older of which is in use."""
NONE: Edits = {}
OFFSET_RAD = 0.25
"""By which a chunk policy that moves otherwise commands more."""
DOUBLED = {"action.terms": [{**CONTRACT["action"]["terms"][0], "scale": 0.2}]}
"""Changes with which the actions of a joint policy are twice as large."""
_STATES: Mapping[str, Any] = {
    "walk": {"members": ["walk"], "stand": True, "to": {"crouch": {"blend_s": 0.1}}},
    "crouch": {"members": ["crouch"], "to": {"walk": {"blend_s": 0.1}}, "way_back": "walk"},
}


class GaitRobot(Robot):
    policy_node = "policy_set_node"

    def switch(self, state: str) -> SwitchState.Response:
        request = SwitchState.Request(state=state)
        return self.call(SwitchState, f"{self.policy_node}/switch", request)


@dataclass(frozen=True)
class Kind:
    """A kind of policies.

    Attributes:
        write: Writes a version: its folder, its number, and changes of its contract. With `moved`
            it commands otherwise, with `wrong` not what its golden rows say.
    """

    name: str
    robot: type[Robot]
    node: Callable[[], LifecycleBase]
    write: Callable[..., Path]

    def __str__(self) -> str:
        return self.name


def _write_joint(
    folder: Path, version: str, changes: Edits = NONE, moved: bool = False, wrong: bool = False
) -> Path:
    changes = {**(DOUBLED if moved else {}), **changes}
    return write_version(folder, version, changes, wrong_by=0.3 * wrong)


def _write_chunk(
    folder: Path, version: str, changes: Edits = NONE, moved: bool = False, wrong: bool = False
) -> Path:
    changes = {"version": version, **changes}
    return write_colours(folder, changes, offset_rad=OFFSET_RAD * moved, wrong_by=0.3 * wrong)


def _write_gaits(
    folder: Path, version: str, changes: Edits = NONE, moved: bool = False, wrong: bool = False
) -> Path:
    """Write a set of two policies, of which the second may be wrong; return its folder."""
    for name, stiffness in (("walk", 30.0), ("crouch", 50.0)):
        own = {"name": name, "joints.stiffness": stiffness, **changes}
        _write_joint(folder / name, "1.0.0", own, moved=moved, wrong=wrong and name == "crouch")
    stated = {"name": "gaits", "version": version, "initial": "walk", "states": _STATES}
    return write_set(folder, ("walk", "crouch"), stated)


def write_set(folder: Path, members: tuple[str, ...], stated: Mapping[str, object]) -> Path:
    """Write the set of bundles that are in a folder; return the folder of the set."""
    hashes = {n: sha256_file(folder / n / "policy.yaml") for n in members}
    listed = {name: {"bundle": f"../{name}", "sha256": each} for name, each in hashes.items()}
    contract = {"schema_version": 1, "kind": "set", "members": listed, **stated}
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder / "set"


JOINT = Kind("joint", Robot, JointPolicyNode, _write_joint)
CHUNK = Kind("chunk", Arm, ActPolicyNode, _write_chunk)
SET = Kind("set", GaitRobot, PolicySetNode, _write_gaits)
NAMES = {JOINT: "two_joints", CHUNK: "colours"}
