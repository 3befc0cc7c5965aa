# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a back end opens is what was hashed, also where the bundle's file is another one by then."""

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError, BundleError
from policy_inference.backends.registry import GROUP, open_backend
from policy_inference.testing.bundles import register, write_contract
from policy_inference.testing.models import save_linear, weights
from testkit.wording import refusal

SWAPPING = """
from policy_inference.backends.onnx import OnnxBackend

class Swapping(OnnxBackend):
    def _open(self, file):
        self.file.write_bytes(b"another model")
        return super()._open(file)

class Apart(Swapping):
    holds_gil = True

class Refusing(OnnxBackend):
    def _open(self, file):
        raise OSError(f"{file}: no such thing")
"""


@pytest.fixture
def swapping_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JointBundle:
    """A bundle, and back ends whose files change meanwhile."""
    site, names = tmp_path / "site", ("swapping", "apart", "refusing")
    register(site, "swapping", GROUP, {name: f"swapping:{name.title()}" for name in names})
    (site / "swapping.py").write_text(SWAPPING, "utf-8")
    monkeypatch.delitem(sys.modules, "swapping", raising=False)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}:{os.environ.get('PYTHONPATH', '')}")
    for folder in ("bundle", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    model = save_linear(tmp_path / "bundle/policy.onnx", 2, 1)
    for name in names:
        write_contract(model, name, "fp32")
    return load_bundle(tmp_path / "bundle", kind=JointBundle)


@pytest.mark.parametrize("name", ["swapping", "apart"])
def test_file_that_is_swapped_after_it_was_hashed_is_not_the_one_that_runs(
    swapping_bundle: JointBundle, tmp_path: Path, name: str
) -> None:
    with closing(open_backend(swapping_bundle, [name])[0]) as backend:
        assert (swapping_bundle.path / "policy.onnx").read_bytes() == b"another model"
        backend.inputs["obs"][:] = 1.0
        backend.run()
        assert np.allclose(backend.outputs["actions"], np.ones((1, 2)) @ weights(2, 1))
        assert not [*tmp_path.glob("temporary/*/policy.onnx")]
    assert not [*tmp_path.glob("temporary/*")]
    with refusal(BundleError):
        open_backend(swapping_bundle, [name])
    assert not [*tmp_path.glob("temporary/*")]


def test_errors_name_the_bundles_own_file(swapping_bundle: JointBundle) -> None:
    with pytest.raises(BackendError) as caught:
        open_backend(swapping_bundle, ["refusing"])
    assert str(swapping_bundle.path / "policy.onnx") in str(caught.value)
    assert "temporary" not in str(caught.value)


def test_no_room_for_a_copy_is_one_error(
    swapping_bundle: JointBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with refusal(BackendError):
        open_backend(swapping_bundle, ["swapping"])


def test_pipe_in_the_place_of_a_model_is_never_waited_for(swapping_bundle: JointBundle) -> None:
    (swapping_bundle.path / "policy.onnx").unlink()
    os.mkfifo(swapping_bundle.path / "policy.onnx")
    with refusal(BundleError):
        open_backend(swapping_bundle, ["swapping"])
