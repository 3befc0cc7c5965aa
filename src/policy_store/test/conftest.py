# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from testkit.store import make_version, root, template, three, usual_environment

__all__ = ["make_version", "root", "template", "three", "usual_environment"]
