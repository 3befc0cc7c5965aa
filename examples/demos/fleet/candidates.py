# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions of the suite's walking policy, made for the demo and signed with the demo's own key."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robot_sim.errors import SimError

Changes = Mapping[str, str]
"""Replacements in `policy.yaml`, keyed by regular expression; each pattern must match once."""
_REPORTS = r"^reports:\n(?:  .*\n)+"
"""Section with the suite's acceptance report, which is about the suite's version."""
WRONG_SCALE: Changes = {r"(term: joint_vel, scale:) 0\.05": r"\1 0.055"}
"""Joint velocities are scaled up by 10 %; in simulation, the robot still walks as before."""
LIMPING: Changes = {r"^(  effort_limit: .*_Knee_joint:) 36\.0}$": r"\1 18.0}"}
"""Weak knees: strong enough only while the robot carries no load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCandidate:
    """A version that may be released.

    Attributes:
        title: Human-readable title.
        version: Version of the bundle.
        folder: Folder of the signed bundle.
        changes: Differences from the suite's policy.
    """

    title: str
    version: str
    folder: Path
    changes: Changes = field(default_factory=dict)


class Workshop:
    """Makes candidates from a bundle.

    Attributes:
        public_key: File with the public key that robots use to check signatures.
    """

    def __init__(self, shipped: Path, folder: Path) -> None:
        """Make a key pair; `openssl` must be installed."""
        self._shipped, self._folder = shipped, folder
        self.private_key, self.public_key = folder / "private.pem", folder / "public.pem"
        _openssl("genpkey", "-algorithm", "ed25519", "-out", str(self.private_key))
        _openssl("pkey", "-in", str(self.private_key), "-pubout", "-out", str(self.public_key))

    def make(self, title: str, version: str, changes: Changes | None = None) -> ReleaseCandidate:
        """Return a new version, not yet signed."""
        made = self._folder / f"bundle_{version}"
        shutil.copytree(self._shipped, made)
        file = made / "policy.yaml"
        text = file.read_text("utf-8")
        changes = changes or {}
        given = {r"^version: .*$": f'version: "{version}"', _REPORTS: "", **changes}
        for pattern, new in given.items():
            text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
            if count != 1:
                raise SimError(f"{file}: expected {pattern!r} once, found it {count} times")
        file.write_text(text, "utf-8")
        return ReleaseCandidate(title=title, version=version, folder=made, changes=changes)


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
