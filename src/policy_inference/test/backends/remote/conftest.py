# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Remote back ends that connect again at once."""

import pytest

from policy_core.errors import BackendError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.remote import link


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(link, "LONGEST_PAUSE_S", 0.1)


def run_succeeds(backend: BackendBase) -> bool:
    try:
        backend.run()
    except BackendError:
        return False
    return True
