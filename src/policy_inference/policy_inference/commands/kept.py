# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a module that is told by SIGIO when the process that started it has gone, however it went.

    python -m policy_inference.commands.kept LIFELINE MODULE ARGUMENT ...

LIFELINE is the number of a pipe's reading end, whose other end that process holds. A module that
does not handle SIGIO ends at once; nodes leave as they do after SIGTERM.
"""

from __future__ import annotations

import runpy
import sys

from policy_inference.backends.child_process import end_with_parent


def main() -> None:
    """Run the module in this process."""
    _, lifeline, module, *arguments = sys.argv
    end_with_parent(int(lifeline))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
