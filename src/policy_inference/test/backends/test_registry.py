# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends by name: the installed ones, a list of them, packages in each other's way."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_inference.backends.registry import GROUP, artifacts_for, available, open_backend
from policy_inference.testing.bundles import register, write_contract
from policy_inference.testing.models import save_linear
from testkit.wording import check_wording, refusal

ONNX = "policy_inference.backends.onnx:OnnxBackend"
NO_RUNTIME = """
from policy_inference.backends.base import BackendBase
from policy_core.errors import BackendError

class VendorBackend(BackendBase):
    name = "vendor"
    def _open(self, file):
        raise BackendError("vendor: no device; connect one")
    def _bind(self): ...
    def _run(self): ...
    def _close(self): ...
"""
BUILDER = """
from policy_inference.backends.onnx import OnnxBackend

class Builder(OnnxBackend):
    name = "builder"
    builds_from, built_precision = "onnx", "fp16"
"""

Install = Callable[..., None]


@pytest.fixture
def register_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution importable that registers backends, given as name=value."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def apply(distribution: str, **backends: str) -> None:
        register(tmp_path / "site", distribution, GROUP, backends)

    return apply


@pytest.fixture
def vendor(register_backends: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a vendor's package whose backend finds no device."""
    register_backends("vendor-backend", vendor="vendor_backend:VendorBackend")
    (tmp_path / "site" / "vendor_backend.py").write_text(NO_RUNTIME, "utf-8")
    monkeypatch.delitem(sys.modules, "vendor_backend", raising=False)


@pytest.fixture
def registry_bundle(tmp_path: Path) -> JointBundle:
    model, gone = (save_linear(tmp_path / f"policy.{suffix}", 2, 1) for suffix in ("onnx", "gone"))
    for name, file, precision in (
        ("onnx", model, "fp32"),
        ("vendor", model, "int8"),
        ("broken", model, "int8"),
        ("gone", gone, "int8"),
    ):
        write_contract(file, name, precision)
    gone.unlink()
    return load_bundle(tmp_path, kind=JointBundle)


@pytest.mark.parametrize(
    "names", [["onnx", "onxx", "tensorflow"], []], ids=lambda names: ",".join(names)
)
def test_unknown_name_lists_the_installed_ones_and_the_artifacts(
    registry_bundle: JointBundle, names: list[str]
) -> None:
    with refusal(BackendError) as caught:
        open_backend(registry_bundle, names)
    assert all(name in str(caught.value) for name in available())


@pytest.mark.usefixtures("vendor")
def test_list_of_which_none_opens_gives_every_reason(
    registry_bundle: JointBundle, register_backends: Install
) -> None:
    register_backends("npu-backend", npu="vendor_backend:VendorBackend")
    with refusal(BackendError):
        open_backend(registry_bundle, ["vendor", "npu"])


@pytest.mark.parametrize("deed", ["import sys; sys.exit()", "def f(:"])
@pytest.mark.parametrize("when", ["imported", "opened"])
@pytest.mark.usefixtures("vendor")
def test_whatever_a_package_raises_ends_its_turn_only(
    registry_bundle: JointBundle, tmp_path: Path, deed: str, when: str
) -> None:
    code = (
        deed
        if when == "imported"
        else NO_RUNTIME.replace(
            'raise BackendError("vendor: no device; connect one")', f"exec({deed!r})"
        )
    )
    (tmp_path / "site" / "vendor_backend.py").write_text(code, "utf-8")
    backend, reasons = open_backend(registry_bundle, ["vendor", "onnx"])
    assert backend.name == "onnx"
    check_wording(*reasons)
    backend.close()


def test_two_packages_with_the_same_name_are_an_error_that_names_both_unless_they_are_the_same(
    registry_bundle: JointBundle, register_backends: Install
) -> None:
    register_backends("policy-inference-copy", onnx=ONNX)
    assert available()["onnx"].value == ONNX
    register_backends("one-backend", npu="one:Backend")
    register_backends("other-backend", npu="other:Backend")
    with refusal(BackendError) as caught:
        open_backend(registry_bundle, ["onnx"])
    for package in ("one-backend (one:Backend)", "other-backend (other:Backend)"):
        assert package in str(caught.value)


@pytest.fixture
def builder(register_backends: Install, tmp_path: Path) -> None:
    register_backends("builder", builder="its_builder:Builder")
    (tmp_path / "site" / "its_builder.py").write_text(BUILDER, "utf-8")


@pytest.mark.usefixtures("builder")
def test_back_end_that_builds_is_served_by_the_artifact_that_it_builds_from(
    registry_bundle: JointBundle,
) -> None:
    ((artifact, file),) = artifacts_for(registry_bundle, "builder").values()
    assert (artifact.file, artifact.precision) == ("policy.onnx", "fp16")
    assert file == registry_bundle.artifact("onnx")[1]
    backend, _ = open_backend(registry_bundle, ["builder"])
    backend.close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tensorrt", {"bild": "yes"}),
        ("rknn", {"core_mask": "9"}),
        ("onnx", {"cores": "2"}),
        ("vendor", {}),  # of a back end that is not to be opened
    ],
    ids=str,
)
def test_slip_in_an_option_is_no_reason_to_take_the_next_back_end(
    registry_bundle: JointBundle, name: str, options: dict[str, str]
) -> None:
    with refusal(BackendError):
        names = ["onnx"] if name == "vendor" else list(dict.fromkeys([name, "onnx"]))
        open_backend(registry_bundle, names, {name: options or {"core_mask": "0"}})
