# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle folders: what is missing, changed or not what its name says."""

import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle, stated_hashes
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError, Problem
from policy_inference.backends.registry import open_models
from testkit.edits import MISSING, Edits
from testkit.wire_messages import DEPTH
from testkit.wording import check_wording, refusal

from .editing import file_sha256, joint_contract, refused_problems

EditJoint = Callable[[Edits], Path]
UseArrays = Callable[..., Path]

STATS, GOLDEN = "observations.obs.normalisation", "model.golden"
ROWS = np.zeros((5, 12), np.float32)
ACTIONS = np.zeros((5, 2), np.float32)
ONES = np.ones(12)


def problem_of(file: Path, load: Callable[[], object]) -> Problem:
    """Return the only problem, which is in this file."""
    (problem,) = refused_problems(load)
    assert problem.file == str(file)
    return problem


def load_joint(folder: Path) -> JointBundle:
    return load_bundle(folder, kind=JointBundle)


def test_what_is_no_bundle_folder_is_refused(tmp_path: Path, bundle_dir: Path) -> None:
    for folder in (tmp_path / "none", bundle_dir / "policy.onnx"):
        check_wording(problem_of(folder, lambda folder=folder: load_joint(folder)))  # type: ignore[misc]


def test_contract_that_is_no_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    check_wording(problem_of(file, lambda: load_joint(tmp_path)))
    file.mkdir()
    check_wording(problem_of(file, lambda: load_joint(tmp_path)))
    file.rmdir()
    file.symlink_to("/dev/zero")
    check_wording(problem_of(file, lambda: load_joint(tmp_path)))


@pytest.mark.parametrize("content", ["s3cret", "- s3cret", "53c237"])
def test_an_error_does_not_show_a_file_that_is_no_contract(tmp_path: Path, content: str) -> None:
    """Such as a token that a link leads to, and that only the one who loads may read."""
    (tmp_path / "token").write_text(content)
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "token")
    problem = problem_of(tmp_path / "policy.yaml", lambda: load_joint(tmp_path))
    assert "3c" not in str(problem).removeprefix(problem.file)
    check_wording(problem)


def test_missing_model_says_where_to_get_it(bundle_dir: Path) -> None:
    file = bundle_dir / "policy.onnx"
    artifact, found = load_joint(bundle_dir).artifact("onnx")
    assert (found, artifact.precision) == (file, "fp32")
    file.unlink()
    problem = problem_of(file, lambda: load_joint(bundle_dir).artifact("onnx"))
    assert "example.org/policy.onnx" in problem.remedy
    check_wording(problem)
    file.mkdir()
    check_wording(problem_of(file, lambda: load_joint(bundle_dir).artifact("onnx")))


@pytest.mark.parametrize("keep", [-1, 50, 0])
def test_truncated_model_is_refused(bundle_dir: Path, keep: int) -> None:
    file = bundle_dir / "policy.onnx"
    expected = file_sha256(file)
    file.write_bytes(file.read_bytes()[:keep])
    problem = problem_of(file, lambda: load_joint(bundle_dir).artifact("onnx"))
    assert (problem.expected, problem.found) == (f"sha256 {expected}", file_sha256(file))


def test_backend_without_artifact_is_refused_and_others_are_listed(bundle_dir: Path) -> None:
    with refusal(BackendError):
        load_joint(bundle_dir).artifact("rknn")


def test_statistics_are_the_means_and_the_bounded_divisors(
    bundle_dir: Path, edit_joint: EditJoint
) -> None:
    edit_joint({f"{STATS}.std_floor": 0.5})
    mean, divisor = load_joint(bundle_dir).statistics["obs"]
    np.testing.assert_array_equal(mean, np.arange(12.0))
    np.testing.assert_array_equal(divisor, [0.5, *np.arange(1.0, 12.0)])


WRONG_STATISTICS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "no mean": ("mean", {"std": ONES}),
    "another length": ("mean", {"mean": np.ones(11), "std": ONES}),
    "text": ("mean", {"mean": ["0"] * 12, "std": ONES}),
    "NaN": ("mean", {"mean": np.full(12, np.nan), "std": ONES}),
    "negative": ("std", {"mean": ONES, "std": np.full(12, -2.0)}),
    "pickled": ("", {"mean": np.array([object()]), "std": ONES}),
}


@pytest.mark.parametrize("case", WRONG_STATISTICS)
def test_statistics_that_do_not_fit_are_refused(use_arrays: UseArrays, case: str) -> None:
    key, arrays = WRONG_STATISTICS[case]
    file = use_arrays(STATS, "obs_stats.npz", **arrays)
    problem = problem_of(file, lambda: load_joint(file.parent))
    assert problem.key == key
    check_wording(problem)


def test_bundle_without_golden_rows_says_what_makes_them(
    bundle_dir: Path, edit_joint: EditJoint
) -> None:
    problem = problem_of(edit_joint({GOLDEN: MISSING}), lambda: load_joint(bundle_dir).golden())
    assert problem.key == GOLDEN
    check_wording(problem)


def test_golden_file_that_is_missing_or_changed_is_refused(bundle_dir: Path) -> None:
    file = bundle_dir / "golden.npz"
    expected = file_sha256(file)
    np.savez(file, obs=ROWS, actions=ACTIONS)
    problem = problem_of(file, lambda: load_joint(bundle_dir).golden())
    assert (problem.expected, problem.found) == (f"sha256 {expected}", file_sha256(file))
    file.unlink()
    assert problem_of(file, lambda: load_joint(bundle_dir).golden()).found == "nothing"


WRONG_ROWS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "no actions": ("actions", {"obs": ROWS}),
    "fewer actions": ("actions", {"obs": ROWS, "actions": ACTIONS[:4]}),
    "wider actions": ("actions", {"obs": ROWS, "actions": ROWS}),
    "no rows": ("obs", {"obs": ROWS[:0], "actions": ACTIONS[:0]}),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_golden_rows_that_do_not_fit_are_refused(use_arrays: UseArrays, case: str) -> None:
    key, arrays = WRONG_ROWS[case]
    file = use_arrays(GOLDEN, "golden.npz", **arrays)
    problem, *_ = refused_problems(lambda: load_joint(file.parent).golden())
    assert (problem.file, problem.key) == (str(file), key)
    check_wording(problem)


@pytest.mark.parametrize(("key", "name"), [(GOLDEN, "golden.npz"), (STATS, "obs_stats.npz")])
def test_arrays_that_state_another_size_than_they_have_are_not_unpacked(
    bundle_dir: Path, edit_joint: EditJoint, key: str, name: str
) -> None:
    """The directory of the archive states a size that its members need not have."""
    file = bundle_dir / name
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.start_dir
    content[at + 24 : at + 28] = struct.pack("<I", 2_000_000_000)
    file.write_bytes(content)
    edit_joint({f"{key}.sha256": file_sha256(file)})
    check_wording(problem_of(file, lambda: load_joint(bundle_dir).golden()))


def test_contract_that_is_larger_than_any_is_refused_before_it_is_parsed(bundle_dir: Path) -> None:
    os.truncate(bundle_dir / "policy.yaml", (1 << 20) + 1)
    check_wording(problem_of(bundle_dir / "policy.yaml", lambda: load_joint(bundle_dir)))


def test_what_is_wrong_survives_the_way_from_another_process(tmp_path: Path) -> None:
    with refusal(Exception) as caught:
        load_joint(tmp_path / "none")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


@pytest.fixture
def keep_report(bundle_dir: Path, edit_joint: EditJoint) -> Callable[[bytes], Path]:
    """Put a report beside the model, which the contract names."""

    def keep(content: bytes) -> Path:
        file = bundle_dir / "reports" / "comparison_onnx.json"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        entry = {"file": "reports/comparison_onnx.json", "sha256": file_sha256(file)}
        edit_joint({"reports": {"onnx": entry}})
        return file

    return keep


def test_report_is_read_where_the_contract_names_it(
    bundle_dir: Path, keep_report: Callable[[bytes], Path]
) -> None:
    file = keep_report(b'{"reference": "fp32"}')
    file.with_name("comparison_rknn.json").write_text("{}", "utf-8")
    bundle = load_joint(bundle_dir)
    assert bundle.report("comparison_onnx") == {"reference": "fp32"}
    assert bundle.report("comparison_rknn") is None


def test_changed_report_is_refused(bundle_dir: Path, keep_report: Callable[[bytes], Path]) -> None:
    file = keep_report(b"{}")
    file.write_bytes(b"{ }")
    problem = problem_of(file, lambda: load_joint(bundle_dir).report("comparison_onnx"))
    assert problem.found == file_sha256(file)


def seeing(sha256: str, **change: object) -> Edits:
    encoder = {
        "inputs": {"image": {"shape": [1, 12]}},
        "outputs": {"latent": {"shape": [1, 12]}},
        "artifacts": {"onnx": {"file": "encoder.onnx", "sha256": sha256, "precision": "fp32"}},
        **change,
    }
    term = {"term": "depth", "topic": "perception/front", "depth": DEPTH, "encoder": encoder}
    return {"observations.obs.terms": [term]}


def test_an_encoder_is_a_file_of_the_bundle_whatever_the_back_ends(
    bundle_dir: Path, edit_joint: EditJoint
) -> None:
    file = bundle_dir / "encoder.onnx"
    shutil.copy(next(bundle_dir.glob("*.onnx")), file)
    edit_joint(seeing(file_sha256(file)))
    bundle = load_joint(bundle_dir)
    bundle.verify()
    assert "encoder.onnx" in stated_hashes(bundle.contract, ["rknn"])
    assert [model.key for model in bundle.models] == ["model"]
    file.write_bytes(b"changed")
    problem_of(file, lambda: bundle.verify(["onnx"]))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"inputs": {"image": {"shape": [1, 6]}}}, "encoder.inputs.image.shape"),
        ({"inputs": {"image": {"shape": [1, 12], "dtype": "uint8"}}}, "encoder.inputs.image.dtype"),
        ({"outputs": {"latent": {"shape": [1, 6]}, "state": {"shape": [1, 6]}}}, "encoder.outputs"),
    ],
)
def test_an_encoder_that_does_not_take_the_images_is_refused(
    bundle_dir: Path, edit_joint: EditJoint, change: dict[str, object], key: str
) -> None:
    file = edit_joint(seeing("0" * 64, **change))
    problem = problem_of(file, lambda: load_joint(bundle_dir))
    assert problem.key == f"observations.obs.terms[0].{key}"


EditChunk = Callable[[Edits], Path]
Change = Callable[[np.ndarray], np.ndarray | None]

LARGE, SMALL = "BPU_ACTPolicy_VisionEncoder_16x24", "BPU_ACTPolicy_VisionEncoder_12x16"
POLICY = "BPU_ACTPolicy_TransformerLayers"


def load_chunk(folder: Path | str) -> ChunkBundle:
    return load_bundle(folder, kind=ChunkBundle)


def test_bundle_of_the_other_kind_is_refused(chunk_dir: Path, bundle_dir: Path) -> None:
    chunk, joint = chunk_dir / "policy.yaml", bundle_dir / "policy.yaml"
    attempts: list[tuple[Path, Callable[[], object]]] = [
        (chunk, lambda: load_bundle(chunk_dir, kind=JointBundle)),
        (chunk, lambda: load_bundle(str(chunk_dir), kind=JointBundle)),
        (chunk, lambda: joint_contract(chunk)),
        (joint, lambda: load_chunk(bundle_dir)),
        (joint, lambda: load_chunk(str(bundle_dir))),
    ]
    for file, attempt in attempts:
        (problem,) = refused_problems(attempt)
        assert (problem.file, problem.key) == (str(file), "kind")
        check_wording(problem)


def test_every_file_of_every_graph_has_its_hash(chunk_dir: Path) -> None:
    bundle = load_chunk(chunk_dir)
    files = [f"{name}/{name}.onnx" for name in (LARGE, SMALL, POLICY)] + ["golden.npz"]
    assert stated_hashes(bundle.contract) == {name: file_sha256(chunk_dir / name) for name in files}
    bundle.verify()


@pytest.mark.parametrize("name", [LARGE, POLICY])
def test_changed_graph_is_found_by_verify_and_before_it_is_opened(
    chunk_dir: Path, name: str
) -> None:
    bundle, file = load_chunk(chunk_dir), chunk_dir / name / f"{name}.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    for judge in (bundle.verify, lambda: open_models(bundle.models, ["onnx"])):
        (problem,) = refused_problems(judge)
        assert (problem.file, problem.found) == (str(file), file_sha256(file))


def test_graph_that_is_another_than_the_contract_says_is_not_opened(edit_chunk: EditChunk) -> None:
    other, folder = f"{LARGE}/{LARGE}.onnx", edit_chunk({}).parent
    entry = {"file": other, "sha256": file_sha256(folder / other), "precision": "fp32"}
    edit_chunk({f"graphs.{SMALL}.artifacts.onnx": entry})
    with refusal(BackendError):
        open_models(load_chunk(folder).models, ["onnx"])


def test_golden_rows_are_observations_and_chunks(chunk_dir: Path) -> None:
    golden = load_chunk(chunk_dir).golden()
    assert {name: (array.shape, array.dtype.name) for name, array in golden.items()} == {
        "cameras.laptop": ((5, 16, 24, 3), "uint8"),
        "cameras.phone": ((5, 12, 16, 3), "uint8"),
        "state": ((5, 3), "float32"),
        "environment_state": ((5, 4), "float32"),
        "chunk": ((5, 8, 3), "float32"),
    }


WRONG_ROWS_OF_LOAD_CHUNK: Mapping[str, tuple[str, Change]] = {
    "no image": ("cameras.phone", lambda rows: None),
    "channels first": ("cameras.phone", lambda rows: rows.transpose(0, 3, 1, 2)),
    "images in floats": ("cameras.phone", lambda rows: (rows / 255).astype(np.float32)),
    "text": ("chunk", lambda rows: rows.astype("U8")),
    "NaN": ("chunk", lambda rows: np.where(rows == rows.max(), np.nan, rows)),
}


@pytest.mark.parametrize("case", WRONG_ROWS_OF_LOAD_CHUNK)
def test_golden_rows_of_a_chunk_that_do_not_fit_are_refused(
    edit_chunk: EditChunk, case: str
) -> None:
    name, change = WRONG_ROWS_OF_LOAD_CHUNK[case]
    folder = edit_chunk({}).parent
    file = folder / "golden.npz"
    with np.load(file) as data:
        arrays = dict(data)
    changed = change(arrays.pop(name))
    arrays |= {} if changed is None else {name: changed}
    np.savez(file, **arrays)
    edit_chunk({"golden.sha256": file_sha256(file)})
    (problem,) = refused_problems(load_chunk(folder).golden)
    assert (problem.file, problem.key) == (str(file), name)
    check_wording(problem)
