# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inspects a file or folder: contents in tables, and suspicious values; one module per kind."""
