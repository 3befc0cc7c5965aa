# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lerobot_bridge` runs the `lerobot_bridge` command with that Python interpreter."""

import sys

from lerobot_bridge.cli import main

sys.exit(main())
