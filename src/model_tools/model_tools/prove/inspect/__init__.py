# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is in a file or folder, in a table, with what is suspicious; one module per kind."""
