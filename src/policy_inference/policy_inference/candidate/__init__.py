# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A candidate version: its gates, and the limits, the end and the record of its trial."""
