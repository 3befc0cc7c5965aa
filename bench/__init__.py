# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is fast, measured side by side with a stated baseline. Run as `python -m bench`."""
