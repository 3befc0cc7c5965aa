# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the BPU's runtimes opens a file, and in which process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.errors import BackendError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.testing.models import save_linear
from testkit.wording import check_wording, refusal

from .cases import compiled_for_bpu

HBM, PYEASY = "hbm_runtime", "hobot_dnn"
Installed = Callable[..., None]
BIN, HBM_FILE = Path("policy.bin"), Path("policy.hbm")


@pytest.fixture(autouse=True)
def only_runtimes(bpu_board: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Let only these runtimes be installed, on such a board."""

    def apply(*names: str, **board: object) -> None:
        bpu_board(**board)
        for name in {HBM, PYEASY} - set(names):
            monkeypatch.setitem(sys.modules, name, None)

    apply(HBM, PYEASY)
    return apply


@pytest.mark.parametrize(
    ("names", "file", "options", "expected"),
    [
        ([HBM, PYEASY], BIN, {}, BpuBackend),
        ([HBM], BIN, {}, BpuBackend),
        ([PYEASY], BIN, {}, PyeasyBackend),
        ([HBM, PYEASY], HBM_FILE, {}, BpuBackend),
        ([PYEASY], HBM_FILE, {}, BpuBackend),
        ([], BIN, {}, BpuBackend),
        ([HBM, PYEASY], BIN, {"runtime": "hbm_runtime"}, BpuBackend),
        ([HBM, PYEASY], BIN, {"runtime": "pyeasy_dnn"}, PyeasyBackend),
    ],
)
def test_runtime_follows_from_what_is_installed_from_the_file_and_from_the_user(
    only_runtimes: Installed,
    names: list[str],
    file: Path,
    options: dict[str, str],
    expected: type[BackendBase],
) -> None:
    only_runtimes(*names)
    assert BpuBackend.for_file(file, options) is expected


def test_a_package_without_its_libraries_leaves_the_file_to_the_older_runtime_and_says_so(
    only_runtimes: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    only_runtimes(HBM, PYEASY, **{"import": "Missing Horizon runtime libraries"})
    with caplog.at_level("INFO", "policy_inference"):
        chosen = BpuBackend.for_file(BIN, {})
    assert chosen is PyeasyBackend
    check_wording(caplog.messages[-1])


def test_a_runtime_that_there_is_not_is_refused() -> None:
    with refusal(BackendError):
        BpuBackend.for_file(BIN, {"runtime": "onnx"})


def test_with_neither_the_packages_of_every_board_are_named(
    only_runtimes: Installed, tmp_path: Path
) -> None:
    file = compiled_for_bpu(save_linear(tmp_path / "policy.onnx", 2, 1), ".bin")
    only_runtimes()
    with pytest.raises(BackendError) as caught:
        BpuBackend.for_file(file, {})(file, [], [])
    message = str(caught.value)
    assert message.startswith("bpu: hbm_runtime: ")
    for package in ("hobot-dnn`", "hobot-spdev`", "hobot-dnn-rdkx5`", "hobot_dnn"):
        assert package in message
