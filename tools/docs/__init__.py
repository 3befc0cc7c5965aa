# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m tools.docs`: builds the documentation site from docs/ and the code."""
