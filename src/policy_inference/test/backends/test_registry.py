# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends by name: the installed ones, a list of them, packages in each other's way."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP, artifact_for, available, open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import BackendError, BundleError
from policy_inference.interfaces import F32
from policy_inference.machine.machine import Machine
from policy_inference.testing.bundles import register, write_contract
from policy_inference.testing.models import save_linear, weights

ONNX = "policy_inference.backends.onnx:OnnxBackend"
NO_RUNTIME = """
from policy_inference.backends.base import BackendBase
from policy_inference.errors import BackendError

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
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a distribution importable that registers backends, given as name=value."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def apply(distribution: str, **backends: str) -> None:
        register(tmp_path / "site", distribution, GROUP, backends)

    return apply


@pytest.fixture
def vendor(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a vendor's package whose backend finds no device."""
    install("vendor-backend", vendor="vendor_backend:VendorBackend")
    (tmp_path / "site" / "vendor_backend.py").write_text(NO_RUNTIME, "utf-8")
    monkeypatch.delitem(sys.modules, "vendor_backend", raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> JointBundle:
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


def test_onnx_is_registered_by_the_installed_package() -> None:
    entry = available()["onnx"]

    assert entry.load() is OnnxBackend
    assert entry.dist is not None
    assert entry.dist.name == "policy_inference"


@pytest.mark.usefixtures("vendor")
def test_backend_of_another_package_is_found() -> None:
    assert {"onnx", "vendor"} <= available().keys()


def test_model_is_opened_as_the_contract_describes_it(bundle: JointBundle) -> None:
    backend, reasons = open_backend(bundle, ["onnx"])
    backend.inputs["obs"][:] = [[1.0, 2.0]]

    backend.run()

    assert (backend.name, reasons) == ("onnx", ())
    actions: F32 = backend.outputs["actions"].astype(np.float32)
    np.testing.assert_allclose(actions, backend.inputs["obs"].astype(np.float32) @ weights(2, 1))
    backend.close()


def test_what_is_questionable_on_this_machine_is_said_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Machine, "cpu_flags", lambda _: frozenset({"avx2"}))
    folder = write_contract(save_linear(tmp_path / "policy.onnx", 2, 1), "onnx", "int8")

    open_backend(load_bundle(folder, kind=JointBundle), ["onnx"])[0].close()

    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "unstated integers on a processor without VNNI" in warning.message
    assert "compile it again with `model_tools compile onnx --precision int8`" in warning.message


def test_unknown_name_lists_the_installed_ones_and_the_artifacts(bundle: JointBundle) -> None:
    with pytest.raises(BackendError) as caught:
        open_backend(bundle, ["tensorflow"])

    names = ", ".join(available())
    assert str(caught.value) == (
        f"expected names of installed backends ({names}), found 'tensorflow'; "
        f"the bundle {bundle.path} has artifacts for {', '.join(bundle.contract.model.artifacts)}"
    )


def test_unknown_name_in_a_list_is_an_error_even_behind_one_that_opens(bundle: JointBundle) -> None:
    with pytest.raises(BackendError, match="found 'onxx', 'tensorflow'"):
        open_backend(bundle, ["onnx", "onxx", "tensorflow"])


def test_empty_list_is_an_error(bundle: JointBundle) -> None:
    with pytest.raises(BackendError, match=r"expected names of installed .*, found nothing"):
        open_backend(bundle, [])


@pytest.mark.usefixtures("vendor")
def test_first_backend_that_opens_wins(bundle: JointBundle) -> None:
    backend, reasons = open_backend(bundle, ["onnx", "vendor"])

    assert (backend.name, reasons) == ("onnx", ())
    backend.close()


@pytest.mark.usefixtures("vendor")
def test_reason_of_each_backend_that_did_not_open_is_reported(bundle: JointBundle) -> None:
    backend, reasons = open_backend(bundle, ["vendor", "onnx"])

    assert backend.name == "onnx"
    assert reasons == ("vendor: vendor: no device; connect one",)
    backend.close()


@pytest.mark.usefixtures("vendor")
def test_single_backend_that_does_not_open_raises_its_own_error(bundle: JointBundle) -> None:
    with pytest.raises(BackendError, match=r"^vendor: no device; connect one$"):
        open_backend(bundle, ["vendor"])


@pytest.mark.usefixtures("vendor")
def test_list_of_which_none_opens_gives_every_reason(bundle: JointBundle, install: Install) -> None:
    install("npu-backend", npu="vendor_backend:VendorBackend")

    with pytest.raises(BackendError) as caught:
        open_backend(bundle, ["vendor", "npu"])

    assert str(caught.value).splitlines() == [
        "no backend of the list opens:",
        "vendor: vendor: no device; connect one",
        f"npu: {bundle.path / 'policy.yaml'}: no artifact for the backend 'npu'; "
        "this bundle has onnx, vendor, broken, gone; compile one (`model_tools compile`), or "
        "choose another back end",
    ]


def test_missing_model_ends_the_list(bundle: JointBundle, install: Install) -> None:
    install("gone-backend", gone=ONNX)

    with pytest.raises(BundleError, match=r"policy\.gone: expected the file that"):
        open_backend(bundle, ["gone", "onnx"])


@pytest.mark.parametrize("value", ["no_such_module:Backend", "policy_inference.backends.onnx:No"])
def test_package_that_does_not_load_is_named(
    bundle: JointBundle, install: Install, value: str
) -> None:
    install("broken-backend", broken=value)

    with pytest.raises(BackendError) as caught:
        open_backend(bundle, ["broken"])

    assert str(caught.value).startswith(f"broken-backend ({value}) does not load: ")


@pytest.mark.parametrize(
    "deed",
    [
        "raise OSError('libnpu.so: cannot open')",
        "raise RuntimeError('boom')",
        "import sys; sys.exit()",
        "def f(:",
        "1 / 0",
    ],
)
@pytest.mark.parametrize("when", ["imported", "opened"])
def test_whatever_a_package_raises_ends_its_turn_only(
    bundle: JointBundle,
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deed: str,
    when: str,
) -> None:
    install("vendor-backend", vendor="vendor_backend:VendorBackend")
    code = (
        deed
        if when == "imported"
        else NO_RUNTIME.replace(
            'raise BackendError("vendor: no device; connect one")', f"exec({deed!r})"
        )
    )
    (tmp_path / "site" / "vendor_backend.py").write_text(code, "utf-8")
    monkeypatch.delitem(sys.modules, "vendor_backend", raising=False)

    backend, reasons = open_backend(bundle, ["vendor", "onnx"])

    assert backend.name == "onnx"
    said = (
        r"vendor: vendor-backend .* does not load"
        if when == "imported"
        else (rf"vendor: vendor: {bundle.path}/policy.onnx")
    )
    assert re.match(
        rf"{said}: (OSError: libnpu|RuntimeError: boom|SystemExit|SyntaxError|ZeroDiv)", reasons[0]
    )
    backend.close()


def test_two_packages_with_the_same_name_are_an_error_that_names_both(
    bundle: JointBundle, install: Install
) -> None:
    install("one-backend", npu="one:Backend")
    install("other-backend", npu="other:Backend")

    with pytest.raises(BackendError) as caught:
        open_backend(bundle, ["onnx"])

    message = str(caught.value)
    assert message.startswith("backend 'npu' is registered twice, by ")
    assert "one-backend (one:Backend)" in message
    assert "other-backend (other:Backend)" in message


def test_package_cannot_take_the_place_of_onnx(install: Install) -> None:
    install("other-backend", onnx="other:Backend")

    with pytest.raises(BackendError, match="'onnx' is registered twice"):
        available()


def test_package_that_is_found_twice_is_no_conflict(install: Install) -> None:
    install("policy-inference-copy", onnx=ONNX)

    assert available()["onnx"].value == ONNX


@pytest.fixture
def builder(install: Install, tmp_path: Path) -> None:
    install("builder", builder="its_builder:Builder")
    (tmp_path / "site" / "its_builder.py").write_text(BUILDER, "utf-8")


@pytest.mark.usefixtures("builder")
def test_back_end_that_builds_is_served_by_the_artifact_that_it_builds_from(
    bundle: JointBundle,
) -> None:
    artifact, file = artifact_for(bundle, "builder")

    assert (artifact.file, artifact.precision) == ("policy.onnx", "fp16")
    assert file == bundle.artifact("onnx")[1]
    backend, _ = open_backend(bundle, ["builder"])
    backend.close()


def test_options_of_a_back_end_that_is_not_to_be_opened_are_an_error(bundle: JointBundle) -> None:
    with pytest.raises(BackendError, match=r"expected options of onnx, .* found options of rknn"):
        open_backend(bundle, ["onnx"], {"rknn": {"core_mask": "0"}})


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("tensorrt", {"bild": "yes"}, "found bild"),
        ("tensorrt", {"build": "maybe"}, "'maybe'"),
        ("rknn", {"core_mask": "9"}, "'9'"),
        ("bpu", {"priority": "high"}, "'high'"),
    ],
)
def test_slip_in_an_option_is_no_reason_to_take_the_next_back_end(
    bundle: JointBundle, name: str, options: dict[str, str], found: str
) -> None:
    with pytest.raises(BackendError, match=f"^{name}: .*{found}"):
        open_backend(bundle, [name, "onnx"], {name: options})


def test_options_of_a_back_end_that_has_none_are_an_error(bundle: JointBundle) -> None:
    with pytest.raises(BackendError, match="onnx: expected no options, found cores"):
        open_backend(bundle, ["onnx"], {"onnx": {"cores": "2"}})
