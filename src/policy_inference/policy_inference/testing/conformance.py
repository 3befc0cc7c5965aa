# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every back end must do: a class of tests that a back end passes, given a `BackendCase`."""

from policy_inference.testing.failing import FailingConformance
from policy_inference.testing.files import FileConformance
from policy_inference.testing.opening import OpeningConformance
from policy_inference.testing.running import RunningConformance


class BackendConformance(
    RunningConformance, OpeningConformance, FileConformance, FailingConformance
):
    """Inherit it, with a fixture `case` that returns the `BackendCase`."""
