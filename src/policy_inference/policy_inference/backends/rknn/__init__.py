# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rockchip NPUs, on the board: RKNN Toolkit Lite2 over librknnrt.so."""
