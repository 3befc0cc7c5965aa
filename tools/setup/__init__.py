# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sets up the workspace: environment in `.venv`, build in `install/` (`python3 -m tools.setup`)."""
