# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requirements for every back end, as tests to inherit: `conformance.BackendConformance`.

Only this part of the package needs pytest and onnx; the extra `testing` installs both.
"""

import pytest

# Lets the asserts of the suite report the compared values.
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
