# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle folders of chunk policies: files of every graph, golden observations, the other kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle, stated_hashes
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_inference.backends.registry import open_models
from testkit.edits import Edits
from testkit.wording import check_wording, refusal

from .editing import file_sha256, joint_contract, refused_problems

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


def test_verify_reports_all_damaged_files_at_once(chunk_dir: Path) -> None:
    bundle = load_chunk(chunk_dir)
    (chunk_dir / SMALL / f"{SMALL}.onnx").unlink()
    (chunk_dir / "golden.npz").write_bytes(b"")
    found = [Path(problem.file).name for problem in refused_problems(bundle.verify)]
    assert found == [f"{SMALL}.onnx", "golden.npz"]


def test_backend_without_artifact_is_refused_with_the_graph(chunk_dir: Path) -> None:
    with refusal(BackendError):
        open_models(load_chunk(chunk_dir).models, ["rknn"])


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


WRONG_ROWS: Mapping[str, tuple[str, Change]] = {
    "no image": ("cameras.phone", lambda rows: None),
    "channels first": ("cameras.phone", lambda rows: rows.transpose(0, 3, 1, 2)),
    "fewer images": ("cameras.phone", lambda rows: rows[:4]),
    "images in floats": ("cameras.phone", lambda rows: (rows / 255).astype(np.float32)),
    "whole numbers": ("state", lambda rows: rows.astype(np.int64)),
    "text": ("chunk", lambda rows: rows.astype("U8")),
    "NaN": ("chunk", lambda rows: np.where(rows == rows.max(), np.nan, rows)),
    "infinite": ("state", lambda rows: np.full_like(rows, np.inf)),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_golden_rows_that_do_not_fit_are_refused(edit_chunk: EditChunk, case: str) -> None:
    name, change = WRONG_ROWS[case]
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
