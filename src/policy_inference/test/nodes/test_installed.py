# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node takes installed versions by name, and only signed ones where keys are configured."""

from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from policy_core.bundle.bundle import CONTRACT_FILE, SIGNATURE_FILE
from policy_core.interfaces import Mode
from testkit import store
from testkit.store import make_keys
from testkit.wording import check_wording

from .bundles import revoke
from .harness import Activate, Robot, Stage
from .kinds import JOINT, NAMES, NEWER, OLDER

pytestmark = pytest.mark.ros
NAME = NAMES[JOINT]
KEYS_VARIABLE = "POLICY_INFERENCE_PUBLIC_KEY"
Sign = Callable[[Path], Path]


@pytest.fixture
def sign(tmp_path: Path) -> Sign:
    """Return what signs a bundle and gives the file of the public key."""
    private, public = make_keys(tmp_path, "public")

    def apply(bundle: Path) -> Path:
        store.sign(bundle / CONTRACT_FILE, private)
        return public

    return apply


def append_newline(contract: Path) -> None:
    contract.write_text(contract.read_text("utf-8") + "\n", "utf-8")


@pytest.mark.slow
def test_version_is_taken_by_its_name_and_replaced_by_that_of_another(
    activate: Activate, partner: Robot, two_versions: Path
) -> None:
    node = activate(bundle=NAME, use_sim_time=True)
    partner.is_met()
    assert partner.newest().bundle == str(two_versions / OLDER)
    partner.loads(f"{NAME}@{NEWER}")
    assert partner.newest().bundle_version == NEWER
    assert node.get_parameter("bundle").value == f"{NAME}@{NEWER}"
    partner.loads(NAME)
    assert partner.newest().bundle == str(two_versions / OLDER)
    partner.load_refusal(f"{NAME}@9.9.9")


def test_version_that_is_revoked_while_it_runs_goes_on_and_says_so(
    activate: Activate, partner: Robot, two_versions: Path
) -> None:
    activate(bundle=NAME, use_sim_time=True)
    partner.runs()
    revoke(two_versions, OLDER, "stairs")
    found = partner.reported(lambda status: partner.tick() and "stairs" in status.reason, "revoked")
    assert found.mode == Mode.RUN
    assert partner.diagnosed(lambda d: "stairs" in d.message).level == DiagnosticStatus.WARN
    check_wording(found.reason, partner.hears("stairs"))


@pytest.mark.slow
def test_only_signed_versions_walk_and_are_loaded(
    activate: Activate, partner: Robot, two_versions: Path, sign: Sign
) -> None:
    public = sign(two_versions / OLDER)
    activate(bundle=NAME, public_key=str(public), use_sim_time=True)
    assert partner.runs().commands[-1].mode == Mode.RUN
    partner.request("damp")
    partner.tick()
    partner.load_refusal(f"{NAME}@{NEWER}")
    assert partner.newest().bundle_version == OLDER
    sign(two_versions / NEWER)
    partner.loads(f"{NAME}@{NEWER}")
    append_newline(two_versions / OLDER / CONTRACT_FILE)
    partner.load_refusal(f"{NAME}@{OLDER}")


@pytest.mark.parametrize("by", ["parameter", "environment"])
def test_bundle_that_the_key_did_not_sign_is_refused_and_leaves_nothing(
    node_stage: Stage, two_versions: Path, sign: Sign, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, contract = sign(two_versions / OLDER), two_versions / OLDER / CONTRACT_FILE
    if by == "parameter":
        (two_versions / OLDER / SIGNATURE_FILE).unlink()
        node_stage.refuses(bundle=NAME, public_key=str(public))
    else:
        append_newline(contract)
        monkeypatch.setenv(KEYS_VARIABLE, str(public))
        node_stage.refuses(bundle=NAME)


def test_parameter_cannot_replace_the_keys_of_the_environment(
    node_stage: Stage,
    two_versions: Path,
    sign: Sign,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public = sign(two_versions / OLDER)
    monkeypatch.setenv(KEYS_VARIABLE, str(make_keys(tmp_path, "other")[1]))
    node_stage.refuses(bundle=NAME, public_key=str(public))
