# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lerobot_bridge` runs the command `lerobot_bridge` in that Python's environment."""

import sys

from lerobot_bridge.cli import main

sys.exit(main())
