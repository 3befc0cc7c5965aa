# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ways from a training run to a bundle: export, import, act, complete."""
