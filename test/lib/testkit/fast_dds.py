# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Programs with and without the configuration of Fast DDS that the tests have."""

from __future__ import annotations

import os
import subprocess
import sys

PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Variables with which these tests are configured; releases of Fast DDS know one of them."""


def run_python(code: str, *arguments: str, is_configured: bool) -> subprocess.CompletedProcess[str]:
    """Run Python code as a user does who has configured Fast DDS, or has not; return its output."""
    taken = () if is_configured else PROFILES
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: value for name, value in os.environ.items() if name not in taken},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
