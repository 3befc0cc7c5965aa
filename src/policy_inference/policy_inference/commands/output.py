# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Text for the terminal, whatever that can show."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Write a text and a line end; characters that the terminal's encoding lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
    sys.stdout.flush()  # a pipe's reader waits, perhaps, for what a command says while it runs
