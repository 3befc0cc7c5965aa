# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the order in which a robot names its joints to the contract's."""

from collections.abc import Sequence

import numpy as np

from policy_core.errors import RobotError
from policy_core.interfaces import F64


class JointOrder:
    """Maps values by joint name; indices are computed once per change of the names."""

    def __init__(self, names: Sequence[str]) -> None:
        """Keep the contract's joints, as the robot calls them."""
        self._names = tuple(names)
        self._found: list[str] | None = None
        self._index = np.zeros(0, dtype=np.intp)

    def take(self, names: Sequence[str], values: F64, out: F64) -> None:
        """Write the values [names] of the contract's joints into `out` [joints].

        Joints that the contract does not know are ignored.

        Raises:
            RobotError: A joint of the contract is missing or named twice, or there are not as
                many values as names.
        """
        if names != self._found:
            self._index = self._indices(names)
            self._found = list(names)
        if len(values) != len(self._found):
            raise RobotError(
                f"expected {len(self._found)} values, one per name, found {len(values)}"
            )
        # mode="clip" spares the copy that the bounds check of take(out=) needs.
        values.take(self._index, None, out, "clip")

    def _indices(self, names: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        counts = {name: list(names).count(name) for name in self._names}
        missing = [name for name, count in counts.items() if count == 0]
        doubled = [name for name, count in counts.items() if count > 1]
        found = [
            f"{text}: {', '.join(joints)}"
            for text, joints in (("missing", missing), ("named twice", doubled))
            if joints
        ]
        if missing:
            found.append(f"the message has {', '.join(names) or 'none'}")
        if found:
            raise RobotError("expected each joint once, found " + "; ".join(found))
        return np.array([list(names).index(name) for name in self._names], dtype=np.intp)
