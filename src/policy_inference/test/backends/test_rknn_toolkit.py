# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What surrounds RKNN Toolkit2 and needs no toolkit: recipes, prepared models."""

import logging
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from policy_core.errors import BackendError
from policy_core.interfaces import F32, TensorSpec
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.backends.rknn_toolkit.build import ToolkitError, build, call
from policy_inference.backends.rknn_toolkit.diagnosis import explain
from policy_inference.backends.rknn_toolkit.prepare import prepare, read_tensors
from policy_inference.backends.rknn_toolkit.python import VARIABLE, toolkit_python
from policy_inference.backends.rknn_toolkit.recipe import (
    MODEL,
    Recipe,
    pack,
    read_samples,
    unpack,
    write_dataset,
    write_recipe,
)
from policy_inference.testing.models import save, save_linear, save_recurrent
from testkit.wording import check_wording, refusal

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
SHAPES = {"obs": (1, 5), "actions": (1, 3), "h_in": (1, 3), "h_out": (1, 3)}
RECIPE = Recipe(
    target="rk3588",
    precision="w8a8",
    inputs=(OBS,),
    outputs=(ACTIONS,),
    settings={"optimization_level": 3},
    tag="a test",
)


def obs_rows(count: int = 40) -> F32:
    return np.random.default_rng(1).normal(size=(count, 5)).astype(np.float32)


@pytest.fixture
def packed_recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    save_linear(folder / MODEL, 5, 3)
    write_recipe(RECIPE, folder, {"obs": obs_rows()})
    pack(folder, tmp_path / "policy.zip")
    return tmp_path / "policy.zip"


def test_a_recipe_is_unpacked_as_it_was_packed_each_time_into_the_same_file(
    packed_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    assert unpack(packed_recipe, tmp_path / "new") == RECIPE
    for name in (MODEL, "samples/0.npy"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "recipe" / name).read_bytes()
    (tmp_path / "recipe" / MODEL).touch()
    pack(tmp_path / "recipe", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed_recipe.read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.json", b"no json"),
        ("recipe.json", b'{"version": 9}'),
        ("model.onnx", None),
        ("samples/0.npy", None),
        ("recipe.json", None),
    ],
)
def test_a_recipe_that_lacks_something_is_refused(
    packed_recipe: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    with zipfile.ZipFile(packed_recipe) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(packed_recipe, "w") as archive:
        for entry, data in ({**files, name: content}).items():
            if data is not None:
                archive.writestr(entry, data)
    (tmp_path / "new").mkdir()
    with refusal(BackendError):
        unpack(packed_recipe, tmp_path / "new")


def test_the_calibration_list_has_a_file_for_each_input_and_sample(tmp_path: Path) -> None:
    state = TensorSpec(name="h_in", shape=(1, 3))
    recipe = Recipe(target="rk3588", precision="w8a8", inputs=(OBS, state), outputs=(ACTIONS,))
    samples = {"obs": obs_rows(), "h_in": obs_rows()[:, :3]}
    write_recipe(recipe, tmp_path, samples)
    dataset = write_dataset(tmp_path, read_samples(tmp_path, 2))
    lines = dataset.read_text("utf-8").splitlines()
    assert len(lines) == 40
    assert lines[7] == "calibration/00007.0.npy calibration/00007.1.npy"
    for name, place in zip(("obs", "h_in"), lines[7].split(), strict=True):
        sample = np.load(dataset.parent / place)
        np.testing.assert_array_equal(sample, samples[name][7:8])


def test_outputs_that_are_copies_are_computed_apart(tmp_path: Path) -> None:
    """Of two outputs with one value the toolkit drops one."""
    source = save_recurrent(tmp_path / "source.onnx", 5, 3)
    prepare(source, tmp_path / "prepared.onnx", SHAPES)
    model = onnx.load(tmp_path / "prepared.onnx")
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Add"]
    fed = {"obs": obs_rows(1), "h_in": obs_rows(1)[:, :3]}
    actions, h_out = onnxruntime.InferenceSession(model.SerializeToString()).run(None, fed)
    np.testing.assert_array_equal(actions, h_out)


@pytest.mark.parametrize("stored", ["initializer", "Constant"])
@pytest.mark.parametrize("given", [{}, {"transB": 0}, {"alpha": 0.5, "beta": 2.0}], ids=str)
def test_weights_of_gemm_are_stored_output_by_output(
    tmp_path: Path, stored: str, given: dict[str, Any]
) -> None:
    """Else the toolkit multiplies a factor before them into the wrong axis."""
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {
        name: random.normal(size=size).astype(np.float32)
        for name, size in (("m", 4), ("w", (4, 4)), ("b", 4))
    }
    nodes = [
        helper.make_node("Mul", ["obs", "m"], ["n"]),
        helper.make_node("Gemm", ["n", "w", "b"], ["h"], **given),
        helper.make_node("Gemm", ["h", "w", "b"], ["actions"]),
    ]
    if stored == "Constant":
        weights = onnx.numpy_helper.from_array(constants.pop("w"))
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    sizes = {"obs": (1, 4)}, {"actions": (1, 4)}
    source = save(tmp_path / "source.onnx", nodes, *sizes, constants=constants)
    prepare(source, tmp_path / "prepared.onnx", {"obs": (1, 4), "actions": (1, 4)})
    model = onnx.load(tmp_path / "prepared.onnx")
    attributes = [
        {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for node in model.graph.node
        if node.op_type == "Gemm"
    ]
    assert [each["transB"] for each in attributes] == [1, 1]
    assert sum(len(tensor.dims) == 2 for tensor in model.graph.initializer) == 1
    fed = {"obs": random.normal(size=(1, 4)).astype(np.float32)}
    found, expected = (
        onnxruntime.InferenceSession(str(file)).run(None, fed)[0]
        for file in (tmp_path / "prepared.onnx", source)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("opset", "prepared"), [(11, 11), (21, 19)])
def test_newer_opsets_are_converted(tmp_path: Path, opset: int, prepared: int) -> None:
    source = save_linear(tmp_path / "source.onnx", 5, 3)
    model = onnx.load(source)
    model.opset_import[0].version, model.ir_version = opset, 11
    onnx.save(model, source)
    prepare(source, tmp_path / "prepared.onnx", SHAPES)
    model = onnx.load(tmp_path / "prepared.onnx")
    assert (model.opset_import[0].version, model.ir_version) == (prepared, 10)


def save_apart(file: Path) -> Path:
    save_linear(file, 5, 3)
    onnx.save(onnx.load(file), file, save_as_external_data=True, size_threshold=0, location="data")
    return file


def save_of_opset_20(file: Path) -> Path:
    nodes = [helper.make_node("Gelu", ["obs"], ["actions"])]
    model = onnx.load(save(file, nodes, {"obs": (1, 5)}, {"actions": (1, 5)}))
    model.opset_import[0].version = 20
    onnx.save(model, file)
    return file


def save_custom(file: Path) -> Path:
    nodes = [helper.make_node("Walk", ["obs"], ["actions"], domain="my.robot")]
    return save(file, nodes, {"obs": (1, 5)}, {"actions": (1, 3)})


@pytest.mark.parametrize(
    ("save_model", "shapes"),
    [
        pytest.param(save_apart, {}, id="weights elsewhere"),
        pytest.param(save_of_opset_20, {"actions": (1, 5)}, id="opset"),
        pytest.param(save_custom, {}, id="operator"),
        pytest.param(lambda file: file, {}, id="missing"),
        *(
            pytest.param(lambda file: save_linear(file, 5, 3), {"obs": shape}, id=f"size {shape}")
            for shape in [(2, 5), (1, 6), (5,)]
        ),
    ],
)
def test_a_model_that_the_toolkit_cannot_take_is_refused(
    tmp_path: Path, save_model: Callable[[Path], Path], shapes: dict[str, tuple[int, ...]]
) -> None:
    with refusal(BackendError):
        prepare(
            save_model(tmp_path / "source.onnx"), tmp_path / "prepared.onnx", {**SHAPES, **shapes}
        )


def test_what_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"a policy\n")
    with refusal(BackendError):
        read_tensors(tmp_path / "junk.onnx")


@pytest.mark.parametrize(
    ("name", "content", "precision"),
    [
        ("policy.rknn", b"RKNN" + bytes(60), "fp16"),
        ("policy.zip", 1000, "w8a8"),
        ("policy.zip", None, "fp16"),
    ],
    ids=["finished", "cut off", "other precision"],
)
def test_what_is_no_recipe_of_the_precision_stated_is_not_simulated(
    packed_recipe: Path, name: str, content: bytes | int | None, precision: str
) -> None:
    file = packed_recipe.with_name(name)
    if content is not None:
        whole = packed_recipe.read_bytes()
        file.write_bytes(whole[:content] if isinstance(content, int) else content)
    with refusal(BackendError):
        RknnSimBackend(file, [OBS], [ACTIONS], precision=precision)


def test_the_toolkits_python_is_the_one_that_is_named_or_of_the_environment_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    assert toolkit_python() == RknnSimBackend.interpreter() == sys.executable
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    with refusal(BackendError):
        toolkit_python()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with refusal(BackendError):
        toolkit_python()
    python = tmp_path / ".venv-rknn" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert toolkit_python() == str(python)


def test_layer_normalisation_states_its_epsilon(tmp_path: Path) -> None:
    constants = {name: np.ones(4, np.float32) for name in ("g", "b")}
    nodes = [
        helper.make_node("LayerNormalization", ["obs", "g", "b"], ["h"]),
        helper.make_node("LayerNormalization", ["h", "g", "b"], ["actions"], epsilon=1e-3),
    ]
    sizes = {"obs": (1, 4)}, {"actions": (1, 4)}
    source = save(tmp_path / "source.onnx", nodes, *sizes, constants=constants)
    prepare(source, tmp_path / "prepared.onnx", {"obs": (1, 4), "actions": (1, 4)})
    stated = [
        attribute.f
        for node in onnx.load(tmp_path / "prepared.onnx").graph.node
        for attribute in node.attribute
        if attribute.name == "epsilon"
    ]
    np.testing.assert_allclose(stated, [1e-5, 1e-3])


DIAGNOSED_RECIPE = Recipe(target="rk3588", precision="fp16", inputs=(), outputs=())

WORDS = [
    # The step, and what the toolkit says.
    ("import", "ModuleNotFoundError: No module named 'rknn'"),
    ("config", "ValueError: The quantized_dtype = 'w8a16' not support in 'rk3588'!"),
    ("build", "ValueError: something else"),
]


@pytest.mark.parametrize(("stage", "text"), WORDS)
def test_words_of_the_toolkit_become_a_sentence(stage: str, text: str) -> None:
    trace = "Traceback (most recent call last):\n  File x, line 1\n"
    check_wording(explain(stage, f"{trace}{text}"))


class Toolkit:
    """`rknn.api.RKNN`, of which one step fails as the toolkit's steps do."""

    failing, how = "", ""
    called: ClassVar[list[str]] = []

    def __init__(self, verbose: bool) -> None:
        self.called.clear()

    def __getattr__(self, step: str) -> Callable[..., int | None]:
        def call(**given: object) -> int | None:
            self.called.append(step)
            if step != self.failing:
                return 0
            if self.how == "raises":
                raise ValueError("Traceback (most recent call last):\n  a line\nKeyError: 'obs'")
            logging.getLogger("rknnLogger").error("\x1b[31mE load_onnx: KeyError: 'obs'\x1b[0m")
            return -1 if self.how == "gives -1" else None

        return call


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("config", ["config"]),
        ("load_onnx", ["config", "load_onnx"]),
        ("build", ["config", "load_onnx", "build"]),
    ],
)
@pytest.mark.parametrize("how", ["raises", "gives -1"])
def test_nothing_is_done_after_the_first_step_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, done: list[str], how: str
) -> None:
    """What the toolkit says of later steps is not the cause."""
    monkeypatch.setattr(Toolkit, "failing", failing)
    monkeypatch.setattr(Toolkit, "how", how)
    monkeypatch.setitem(sys.modules, "rknn", ModuleType("rknn"))
    monkeypatch.setitem(sys.modules, "rknn.api", api := ModuleType("rknn.api"))
    vars(api)["RKNN"] = Toolkit
    with refusal(ToolkitError) as caught:
        build(tmp_path, DIAGNOSED_RECIPE)
    assert caught.value.stage == failing
    assert Toolkit.called == [*done, "release"]


def test_an_inference_without_a_result_is_reported_in_the_toolkits_words() -> None:
    log = logging.getLogger("rknnLogger")

    def inference() -> None:
        log.error("Unsupport inputs[0].dtype: float64")

    with refusal(ToolkitError):
        call(inference, "inference")
