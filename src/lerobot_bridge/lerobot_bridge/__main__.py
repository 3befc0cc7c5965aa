# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lerobot_bridge` is the command `lerobot_bridge`, in the environment of that Python."""

import sys

from lerobot_bridge.cli import main

sys.exit(main())
