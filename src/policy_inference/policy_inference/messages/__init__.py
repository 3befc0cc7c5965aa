# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Serialised messages: sensor messages read into arrays, and commands written."""
