# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every back end must do, as tests to inherit: `conformance.BackendConformance`.

Needs pytest and onnx, which nothing else of this package does: the extra `testing` brings both.
"""

import pytest

# Lets the asserts of the suite say what they compared.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in (
            "case",
            "conformance",
            "failing",
            "files",
            "opening",
            "running",
        )
    )
)
