# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle is read in a process with limits before a node reads it."""

import hashlib
import os
from pathlib import Path

import pytest
import yaml

from policy_core.bundle.bounded_yaml import load_text
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError, RefusedError
from policy_inference.rehearsal import rehearse
from policy_inference.testing.bundles import write_contract
from policy_inference.testing.models import save_linear
from testkit.wording import check_wording, refusal


@pytest.fixture
def linear_bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    return write_contract(save_linear(tmp_path / "bundle" / "policy.onnx", 2, 1), "onnx", "fp32")


def test_a_bundle_that_is_read_is_named_by_its_hash(
    linear_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = hashlib.sha256((linear_bundle / "policy.yaml").read_bytes()).hexdigest()
    assert rehearse(str(linear_bundle), "") == expected
    monkeypatch.chdir(linear_bundle.parent)
    assert rehearse(f".{os.sep}{linear_bundle.name}", "") == expected


def test_what_is_wrong_is_said_as_it_was_found(linear_bundle: Path) -> None:
    (linear_bundle / "policy.yaml").write_text("kind: joint\nrate_hz: 1:30\n")
    with pytest.raises(RefusedError) as caught:
        rehearse(str(linear_bundle), "")
    check_wording(*(line for line in str(caught.value).splitlines() if "rate_hz" in line))


@pytest.mark.slow
def test_a_bundle_that_takes_too_long_is_refused(linear_bundle: Path) -> None:
    """The pattern takes years, and a node that read it would send no command meanwhile."""
    content = load_text((linear_bundle / "policy.yaml").read_text())
    assert isinstance(content, dict)
    content["joints"]["names"] = ["a" * 60 + "-"]
    content["joints"]["damping"] = {"(a+)+$": 1.0}
    (linear_bundle / "policy.yaml").write_text(yaml.safe_dump(content))
    with refusal(RefusedError):
        rehearse(str(linear_bundle), "", cpu_s=1)


def test_a_contract_that_changed_meanwhile_is_not_parsed(linear_bundle: Path) -> None:
    sha256 = rehearse(str(linear_bundle), "")
    (linear_bundle / "policy.yaml").write_text("[" * 1000)
    with refusal(BundleError):
        load_bundle(str(linear_bundle), sha256=sha256, kind=JointBundle)
