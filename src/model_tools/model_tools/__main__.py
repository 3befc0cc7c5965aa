# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m model_tools` runs the `model_tools` command in the active environment."""

import sys

from model_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
