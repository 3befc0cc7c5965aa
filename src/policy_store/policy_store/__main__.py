# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m policy_store`: the command in the active environment."""

import sys

from policy_store.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
