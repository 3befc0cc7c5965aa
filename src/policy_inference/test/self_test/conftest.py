# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A vendor's package with a device that the test commands, and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from policy_inference.backends.registry import GROUP
from policy_inference.self_test.run import SelfTestRequest, SelfTestResult, self_test
from policy_inference.testing.bundles import register

from .bundles import make_bundle
from .vendor import Apart, Device, FakeClock, Simulated, Simulator, Vendor

Test = Callable[..., SelfTestResult]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """The device of the back ends vendor, simulator and simulated; with apart, all installed."""
    register(
        tmp_path / "site",
        "vendor",
        GROUP,
        {
            cls.name: f"{cls.__module__}:{cls.__name__}"
            for cls in (Vendor, Simulator, Simulated, Apart)
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    device = Device(clock=FakeClock())
    monkeypatch.setattr(Vendor, "device", device, raising=False)
    return device


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Folder of a bundle without fault, with an artifact for the vendor in fp32."""
    return make_bundle(tmp_path / "two_joints")


@pytest.fixture
def test(device: Device) -> Test:
    """Test a bundle on the device for 10 s of its clock."""

    def apply(folder: Path, backend: str = "vendor", duration_s: float = 10.0) -> SelfTestResult:
        order = SelfTestRequest(folder=folder, backend=backend, duration_s=duration_s)
        return self_test(order, device.clock)

    return apply
