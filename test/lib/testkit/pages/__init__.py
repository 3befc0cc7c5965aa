# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The commands that pages, `make help` and `--help` show: reads them and runs them."""
