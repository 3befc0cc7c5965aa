# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers in a message, which the wording file leaves out: a test compares them as numbers."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def numbers_in(message: object) -> list[float]:
    """Return the numbers of a message in their order, without those inside words.

    Args:
        message: Text, or an error.
    """
    return [float(found) for found in _NUMBER.findall(str(message))]
