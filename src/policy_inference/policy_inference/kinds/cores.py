# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which core a policy ticks in: C++ where it is built and can run the policy, else Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from policy_core.interfaces import Backend
from policy_core.native_controller import NativeController

NATIVE, PYTHON = "native", "python"
"""Values of the parameter `realtime.loop`."""
_log = logging.getLogger("policy_inference")


def native_controller(
    loop: str, models: Mapping[str, Backend], sha256: str
) -> Callable[..., NativeController | None]:
    """Return what makes a controller in C++; it returns None, and says why, where that cannot be.

    Args:
        loop: `NATIVE`; otherwise none is made.
        models: As for `NativeController`.
        sha256: Of the bundle.
    """

    def make(*arguments: Any) -> NativeController | None:
        if loop != NATIVE:
            return None
        try:
            return NativeController(*arguments, models=models, sha256=bytes.fromhex(sha256))
        except (ImportError, ValueError) as error:
            _log.warning("ticks in Python: %s", error)
            return None

    return make
