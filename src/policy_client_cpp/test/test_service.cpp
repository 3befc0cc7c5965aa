// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

TEST_SUITE_BEGIN("service");
TEST_SUITE_END();
