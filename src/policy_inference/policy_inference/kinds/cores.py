# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Selection of the core that ticks a policy: C++ if it is built and supports it, else Python."""

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
    """Return a factory of controllers in C++; it returns None, and logs why, if that is impossible.

    Args:
        loop: `NATIVE`; any other value disables it.
        models: As for `NativeController`.
        sha256: Hash of the bundle.
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
