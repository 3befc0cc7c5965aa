# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Golden rows and nominal figures: what a bundle has beside its contract and its model."""
