# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A vendor's package with a device that the test commands, and a clock of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from policy_inference.comparison.limits import Check
from policy_inference.self_test.run import SelfTestRequest, SelfTestResult, self_test

from ..nodes.opening_backends import register_classes
from .bundles import two_joint_bundle
from .vendor import Device, FakeClock, Simulated, Simulator, Vendor

Test = Callable[..., SelfTestResult]


def failing_checks(found: SelfTestResult) -> list[Check]:
    assert found.verdict is not None, found.error
    return [check for check in found.verdict.checks if not check]


def failed_names(found: SelfTestResult) -> str:
    return "; ".join(check.what for check in failing_checks(found))


def missing_evidence(found: SelfTestResult) -> str:
    """Return the one reason for which a test judges nothing."""
    assert found.verdict is not None, found.error
    assert not found
    (text,) = found.verdict.missing
    return text


@pytest.fixture
def vendor_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """The device of the back ends vendor, simulator and simulated, which are installed."""
    register_classes(tmp_path / "site", monkeypatch, Vendor, Simulator, Simulated)
    vendor_device = Device(clock=FakeClock())
    monkeypatch.setattr(Vendor, "device", vendor_device, raising=False)
    return vendor_device


@pytest.fixture
def sound_bundle(tmp_path: Path) -> Path:
    """Folder of a bundle without fault, with an artifact for the vendor in fp32."""
    return two_joint_bundle(tmp_path / "two_joints")


@pytest.fixture
def test(vendor_device: Device) -> Test:
    """Test a bundle on the device for 10 s of its clock."""

    def apply(folder: Path, backend: str = "vendor", duration_s: float = 10.0) -> SelfTestResult:
        order = SelfTestRequest(folder=folder, backend=backend, duration_s=duration_s)
        return self_test(order, vendor_device.clock)

    return apply
