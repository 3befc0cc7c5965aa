# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling a bundle: the new bundle opens, says how it was made, and is the same function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError, VerdictError
from model_tools.prove.calibration.calibration_files import hash_samples
from model_tools.ship.compilers.compiler import GROUP, remedy
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import Calibration
from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import F32
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.rows import Rows, play
from policy_inference.testing.bundles import register
from testkit.bags import write_bag
from testkit.wording import check_wording, refusal

from ...small_bag import every, joint_states
from ...tiny_bundle import forward, make_bundle, make_counting_bundle, observations, weights
from .conftest import compiled

LIMITS = "limits: {onnx: {max_abs: 1.0e-5, closed_loop: {max_tilt_rad: 0.2}}}"
Compile = Callable[..., JointBundle]


@pytest.fixture
def tiny_source(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "tiny", limits=LIMITS)


@pytest.fixture
def compile_tiny(tiny_source: Path, tiny_rows: Path, tmp_path: Path) -> Compile:
    def apply(
        precision: str = "int8",
        rows: Path | None = tiny_rows,
        compiler: str = "onnx",
        **changes: object,
    ) -> JointBundle:
        given = {"bundle": tiny_source, "output": tmp_path / "made", **changes}
        return compiled(JointBundle, compiler, precision=precision, rows=rows, **given)

    return apply


def bundle_outputs(bundle: JointBundle, obs: F32) -> F32:
    rows = Rows(source="a test", inputs={"obs": obs}, outputs={})
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        return np.asarray(play(backend, rows, bundle.contract.state)["actions"], np.float32)
    finally:
        backend.close()


@pytest.mark.parametrize(
    ("precision", "calibrated", "tolerance"), [("int8", True, 0.05), ("fp16", False, 0.002)]
)
def test_a_compiled_model_is_nearly_the_same_function(
    compile_tiny: Compile, tiny_rows: Path, precision: str, calibrated: bool, tolerance: float
) -> None:
    bundle = compile_tiny(precision, tiny_rows if calibrated else None)
    obs = observations(50, seed=3)

    error = np.abs(bundle_outputs(bundle, obs) - forward(obs, weights()))

    assert 0.0 < error.max() < tolerance


def test_the_contract_says_what_the_artifact_is_and_how_it_was_made(
    compile_tiny: Compile, tiny_rows: Path, tiny_source: Path
) -> None:
    bundle = compile_tiny(samples=64)
    source = load_bundle(tiny_source, kind=JointBundle).contract
    entry, file = bundle.artifact("onnx")

    assert (entry.precision, entry.target, file.name) == ("int8", None, "policy.int8.onnx")
    assert entry.tool is not None
    assert entry.tool.startswith("onnxruntime ")
    assert entry.made is not None
    check_wording(entry.made)
    assert entry.integers == "unsigned"
    assert entry.calibration == Calibration(
        source="rollout.npz", sha256=sha256_file(tiny_rows), rows=64
    )
    assert bundle.contract.model.golden == source.model.golden
    # What was said of the former artifact goes; how it has to walk stays.
    assert not (bundle.path / "policy.onnx").exists()
    limits = bundle.contract.limits["onnx"]
    assert limits.max_abs is None
    assert limits.closed_loop is not None
    assert limits.closed_loop.max_tilt_rad == 0.2


def test_a_recording_calibrates_and_is_named_with_its_hash(
    compile_tiny: Compile, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 3000)))

    with pytest.raises(VerdictError):  # its numbers are no robot's
        compile_tiny(rows=bag)
    entry, _ = compile_tiny(rows=bag, allow_poor=True).artifact("onnx")  # at most half of them

    assert entry.calibration == Calibration(source="bag", sha256=hash_samples(bag), rows=50)
    (bag / "metadata.yaml").write_text("other", "utf-8")
    assert hash_samples(bag) != entry.calibration.sha256


def test_states_that_were_not_recorded_are_those_of_the_reference_model(
    compile_tiny: Compile, tiny_rows: Path, tmp_path: Path
) -> None:
    """Calibrated on zeros for a state, its range would be nothing."""
    source = make_bundle(tmp_path / "recurrent", recurrent=True)
    obs = observations(50, seed=3)
    np.savez(tiny_rows, obs=observations(1000))

    found = bundle_outputs(compile_tiny(bundle=source), obs)

    np.testing.assert_allclose(
        found, bundle_outputs(load_bundle(source, kind=JointBundle), obs), atol=0.05
    )


@pytest.mark.parametrize(("count", "different"), [(63, 31), (500, 20)])
def test_too_few_different_samples_are_refused(
    compile_tiny: Compile, tiny_rows: Path, tmp_path: Path, count: int, different: int
) -> None:
    np.savez(tiny_rows, obs=observations()[np.arange(count) % different])

    with refusal(ToolError):
        compile_tiny()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "arrays",
    [{"observation": np.zeros((40, 6))}, {"obs": np.full((40, 6), np.nan)}],
    ids=["another name", "not finite"],
)
def test_samples_that_do_not_fit_are_refused(
    compile_tiny: Compile, tiny_rows: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tiny_rows, allow_pickle=False, **arrays)

    with refusal(ToolError):
        compile_tiny()


@pytest.mark.parametrize(
    "changes",
    [{"precision": "int4"}, {"target": "rk3588"}, {"rows": None}, {"compiler": "gcc"}],
    ids=["precision", "target", "rows", "compiler"],
)
def test_what_the_compiler_does_not_offer_is_refused(
    compile_tiny: Compile, changes: dict[str, object]
) -> None:
    with refusal(ToolError):
        compile_tiny(**changes)


def test_only_the_reference_model_is_compiled(compile_tiny: Compile, tmp_path: Path) -> None:
    compile_tiny()

    with refusal(ToolError):
        compile_tiny(bundle=tmp_path / "made", output=tmp_path / "twice")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weights_that_are_not_finite_are_not_compiled(
    compile_tiny: Compile, tiny_rows: Path, tmp_path: Path, precision: str
) -> None:
    """Back ends give numbers for some of them, which look like a policy."""
    source = make_bundle(tmp_path / "diverged", edit=lambda arrays: arrays["w0"].fill(np.inf))

    with refusal(ToolError):
        compile_tiny(precision, tiny_rows if precision == "int8" else None, bundle=source)
    assert not (tmp_path / "made").exists()


def test_float16_is_refused_where_it_does_not_count_all_ticks(
    compile_tiny: Compile, tmp_path: Path
) -> None:
    for frames in (3000, None):
        counting = make_counting_bundle(tmp_path / f"counting {frames}", frames)
        with refusal(ToolError):
            compile_tiny("fp16", None, bundle=counting)
    compile_tiny("fp16", None, bundle=make_counting_bundle(tmp_path / "counting", 2049))


def test_what_helps_a_precision_that_fails_is_known_for_every_back_end_that_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    rknn = "model_tools.ship.compilers.rknn:RknnCompiler"
    register(tmp_path, "rockchip", GROUP, {"rknn": rknn})

    for backend in ("rknn", "rknn_sim"):
        assert "hybrid=yes" in remedy(backend, "w8a8")
    assert "compile fp16" in remedy("onnx", "int8")
    assert remedy("onnx", "fp32") == remedy("nobody", "int8") == ""
