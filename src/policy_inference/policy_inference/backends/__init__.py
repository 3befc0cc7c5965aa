# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per runtime, each implementing the `interfaces.Backend` protocol."""
