# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the BPU's runtimes opens a file, and in which process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_core.interfaces import F32
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.registry import GROUP, open_backend
from policy_inference.testing.bundles import register, write_contract
from policy_inference.testing.models import save_linear, weights
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


@pytest.fixture
def open_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., BackendBase]]:
    """Open a bundle with a BPU file by the name `bpu`, registered as setup.py does."""
    register(
        tmp_path / "site", "boards", GROUP, {"bpu": "policy_inference.backends.bpu.hbm:BpuBackend"}
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with ExitStack() as stack:

        def apply(suffix: str, target: str) -> BackendBase:
            model = save_linear(tmp_path / "policy.onnx", 2, 1)
            file = compiled_for_bpu(model, suffix, march=target)
            write_contract(file, "bpu", "int8", target)
            backend, _ = open_backend(load_bundle(tmp_path, kind=JointBundle), ["bpu"])
            return stack.enter_context(closing(backend))

        yield apply


@pytest.mark.parametrize(
    ("names", "suffix", "target"),
    [([HBM, PYEASY], ".hbm", "nash-e"), ([HBM], ".bin", "bayes-e"), ([PYEASY], ".bin", "bayes-e")],
)
def test_both_runtimes_run_in_another_process(
    open_bundle: Callable[..., BackendBase],
    only_runtimes: Installed,
    names: list[str],
    suffix: str,
    target: str,
) -> None:
    """One ends the process where a run fails, one keeps Python's lock."""
    only_runtimes(*names)

    backend = open_bundle(suffix, target)
    backend.inputs["obs"][:] = [[1.0, 2.0]]
    backend.run()

    actions: F32 = backend.outputs["actions"].astype(np.float32)
    expected: F32 = np.array([[1.0, 2.0]], np.float32) @ weights(2, 1)
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    assert backend.name == "bpu"
    assert backend.details["process"].startswith("child ")
