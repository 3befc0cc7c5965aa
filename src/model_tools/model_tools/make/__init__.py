# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Turn a training run into a bundle: export, import, ACT policies, complete."""
