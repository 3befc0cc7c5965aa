# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle folders: what is missing, changed or not what its name says."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from policy_inference.bundle.bundle import JointBundle, file_entry
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BackendError, BundleError

from .editing import MISSING, sha256

Edit = Callable[[Mapping[str, object]], Path]
UseArrays = Callable[..., Path]

STATS, GOLDEN = "observations.obs.normalisation", "model.golden"
ROWS = np.zeros((5, 12), np.float32)
ACTIONS = np.zeros((5, 2), np.float32)


def test_missing_folder_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    _assert_rejected(folder, f"{folder}: expected a bundle folder, found nothing")


def test_file_in_place_of_the_folder_rejected(bundle_dir: Path) -> None:
    file = bundle_dir / "policy.onnx"
    _assert_rejected(file, f"{file}: expected a bundle folder, found a file")


def test_folder_without_contract_rejected(tmp_path: Path) -> None:
    _assert_rejected(tmp_path, f"{tmp_path / 'policy.yaml'}: expected a file, found nothing")


def test_folder_in_place_of_the_contract_rejected(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").mkdir()
    _assert_rejected(tmp_path, f"{tmp_path / 'policy.yaml'}: expected a file, found Is a directory")


@pytest.mark.parametrize(
    ("content", "found"), [("s3cret", "text"), ("- s3cret", "a list"), ("53c237", "text")]
)
def test_an_error_does_not_show_a_file_that_is_no_contract(
    tmp_path: Path, content: str, found: str
) -> None:
    """Such as a token that a link leads to, and that only the one who loads may read."""
    (tmp_path / "token").write_text(content)
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "token")
    _assert_rejected(
        tmp_path,
        f"{tmp_path / 'policy.yaml'}: expected a mapping with the keys of JointContract, "
        f"found {found}",
    )


def test_missing_model_says_where_to_get_it(bundle_dir: Path) -> None:
    (bundle_dir / "policy.onnx").unlink()

    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_dir, kind=JointBundle).artifact("onnx")

    assert str(caught.value) == (
        f"{bundle_dir / 'policy.onnx'}: expected the file that policy.yaml names, found nothing; "
        "get it from example.org/policy.onnx"
    )


def test_folder_in_place_of_the_model_rejected(bundle_dir: Path) -> None:
    (bundle_dir / "policy.onnx").unlink()
    (bundle_dir / "policy.onnx").mkdir()

    with pytest.raises(BundleError, match="found a folder"):
        load_bundle(bundle_dir, kind=JointBundle).artifact("onnx")


@pytest.mark.parametrize("keep", [-1, 50, 0])
def test_truncated_model_rejected(bundle_dir: Path, keep: int) -> None:
    file = bundle_dir / "policy.onnx"
    expected = sha256(file)
    file.write_bytes(file.read_bytes()[:keep])

    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_dir, kind=JointBundle).artifact("onnx")

    assert str(caught.value) == (
        f"{file}: expected sha256 {expected}, found {sha256(file)}; "
        "restore the file, or make the bundle again"
    )


def test_backend_without_artifact_rejected_and_others_listed(bundle_dir: Path) -> None:
    with pytest.raises(BackendError) as caught:
        load_bundle(bundle_dir, kind=JointBundle).artifact("rknn")

    assert str(caught.value) == (
        f"{bundle_dir / 'policy.yaml'}: no artifact for the backend 'rknn'; this bundle has onnx; "
        "compile one (`model_tools compile`), or choose another back end"
    )


def test_artifact_is_the_verified_file(bundle_dir: Path) -> None:
    artifact, file = load_bundle(bundle_dir, kind=JointBundle).artifact("onnx")

    assert (file, artifact.precision) == (bundle_dir / "policy.onnx", "fp32")


def test_hash_of_a_bundle_changes_with_its_contract(bundle_dir: Path, edit: Edit) -> None:
    before = load_bundle(bundle_dir, kind=JointBundle).sha256
    file = edit({"joints.stiffness": 31.0})

    assert before != load_bundle(bundle_dir, kind=JointBundle).sha256 == sha256(file)


def test_hash_of_a_large_file_is_that_of_its_content(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(range(256)) * 12345)

    assert sha256_of(file) == sha256(file)


def test_entry_of_a_file_in_a_subfolder_is_relative(tmp_path: Path) -> None:
    file = tmp_path / "rknn" / "policy.rknn"
    file.parent.mkdir()
    file.write_bytes(b"model")

    entry = file_entry(file, tmp_path)

    assert (entry.file, entry.sha256) == ("rknn/policy.rknn", sha256(file))


def test_statistics_are_the_means_and_the_bounded_divisors(bundle_dir: Path, edit: Edit) -> None:
    edit({f"{STATS}.std_floor": 0.5})

    mean, divisor = load_bundle(bundle_dir, kind=JointBundle).statistics["obs"]

    np.testing.assert_array_equal(mean, np.arange(12.0))
    np.testing.assert_array_equal(divisor, [0.5, *np.arange(1.0, 12.0)])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"std": np.ones(12)}, "mean: expected 12 numbers, as the model's input, found nothing"),
        ({"mean": np.ones(12)}, "std: expected 12 numbers, as the model's input, found nothing"),
        (
            {"mean": np.ones(11), "std": np.ones(12)},
            "mean: expected 12 numbers, as the model's input, found float64[11]",
        ),
        (
            {"mean": np.ones(12), "std": np.ones((12, 12))},
            "std: expected 12 numbers, as the model's input, found float64[12, 12]",
        ),
        (
            {"mean": ["0"] * 12, "std": np.ones(12)},
            "mean: expected 12 numbers, as the model's input, found <U1[12]",
        ),
        (
            {"mean": np.full(12, np.nan), "std": np.ones(12)},
            "mean: expected finite values, found NaN or infinite ones",
        ),
        (
            {"mean": np.ones(12), "std": np.full(12, np.inf)},
            "std: expected finite values, found NaN or infinite ones",
        ),
        ({"mean": np.ones(12), "std": np.full(12, -2.0)}, "std: expected values >= 0, found -2"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_statistics_that_do_not_fit_rejected(
    use_arrays: UseArrays, arrays: Mapping[str, object], message: str
) -> None:
    file = use_arrays(STATS, "obs_stats.npz", **arrays)

    _assert_rejected(file.parent, f"{file}: {message}")


def test_both_statistics_are_reported_at_once(use_arrays: UseArrays) -> None:
    file = use_arrays(STATS, "obs_stats.npz", mean=np.ones(3), std=np.ones(4))

    _assert_rejected(
        file.parent,
        f"{file}: mean: expected 12 numbers, as the model's input, found float64[3]",
        f"{file}: std: expected 12 numbers, as the model's input, found float64[4]",
    )


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(100)])
def test_statistics_that_are_no_arrays_rejected(
    bundle_dir: Path, edit: Edit, content: bytes
) -> None:
    file = bundle_dir / "obs_stats.npz"
    file.write_bytes(content)
    edit({f"{STATS}.sha256": sha256(file)})

    _assert_rejected(bundle_dir, f"{file}: expected numpy arrays (.npz), found no zip archive")


def test_damaged_statistics_rejected(bundle_dir: Path, edit: Edit) -> None:
    file = bundle_dir / "obs_stats.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 0xFF
    file.write_bytes(content)
    edit({f"{STATS}.sha256": sha256(file)})

    with pytest.raises(BundleError, match=r"expected numpy arrays \(.npz\), found Bad CRC-32"):
        load_bundle(bundle_dir, kind=JointBundle)


def test_pickled_objects_in_statistics_are_refused_and_not_loaded(use_arrays: UseArrays) -> None:
    file = use_arrays(STATS, "obs_stats.npz", mean=np.array([object()]), std=np.ones(12))

    with pytest.raises(BundleError, match="Object arrays cannot be loaded"):
        load_bundle(file.parent, kind=JointBundle)


def test_single_array_in_place_of_statistics_rejected(bundle_dir: Path, edit: Edit) -> None:
    file = bundle_dir / "obs_stats.npy"
    np.save(file, np.ones(12))
    edit({f"{STATS}.file": file.name, f"{STATS}.sha256": sha256(file)})

    _assert_rejected(bundle_dir, f"{file}: expected numpy arrays (.npz), found no zip archive")


def test_missing_statistics_rejected(bundle_dir: Path) -> None:
    file = bundle_dir / "obs_stats.npz"
    file.unlink()

    _assert_rejected(bundle_dir, f"{file}: expected the file that policy.yaml names, found nothing")


def test_golden_rows_are_those_of_every_tensor(bundle_dir: Path) -> None:
    golden = load_bundle(bundle_dir, kind=JointBundle).golden()

    assert (golden["obs"].shape, golden["actions"].shape) == ((5, 12), (5, 2))


def test_other_arrays_beside_the_golden_rows_are_left_out(use_arrays: UseArrays) -> None:
    file = use_arrays(GOLDEN, "golden.npz", obs=ROWS, actions=ACTIONS, joint_names=["a", "b"])

    assert set(load_bundle(file.parent, kind=JointBundle).golden()) == {"obs", "actions"}


def test_bundle_without_golden_rows_says_so(bundle_dir: Path, edit: Edit) -> None:
    file = edit({GOLDEN: MISSING})

    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_dir, kind=JointBundle).golden()

    assert str(caught.value) == (
        f"{file}: model.golden: expected a file of golden vectors, found nothing; `model_tools "
        f"complete {file.parent} --output FOLDER` makes a bundle that has them"
    )


def test_missing_golden_file_rejected(bundle_dir: Path) -> None:
    (bundle_dir / "golden.npz").unlink()

    with pytest.raises(BundleError, match=r"golden\.npz: expected the file that"):
        load_bundle(bundle_dir, kind=JointBundle).golden()


def test_changed_golden_file_rejected(bundle_dir: Path) -> None:
    np.savez(bundle_dir / "golden.npz", obs=ROWS, actions=ACTIONS)

    with pytest.raises(BundleError, match=r"golden\.npz: expected sha256"):
        load_bundle(bundle_dir, kind=JointBundle).golden()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"obs": ROWS}, "actions: expected an array [5, 2], found nothing"),
        ({"actions": ACTIONS}, "obs: expected an array [5, 12], found nothing"),
        (
            {"obs": ROWS, "actions": ACTIONS[:4]},
            "actions: expected an array [5, 2], found float32[4, 2]",
        ),
        ({"obs": ROWS, "actions": ROWS}, "actions: expected an array [5, 2], found float32[5, 12]"),
        ({"obs": ROWS, "actions": 0.0}, "actions: expected an array [5, 2], found float64[]"),
        (
            {"obs": ROWS, "actions": ACTIONS.ravel()},
            "actions: expected an array [5, 2], found float32[10]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_golden_rows_that_do_not_fit_rejected(
    use_arrays: UseArrays, arrays: Mapping[str, object], message: str
) -> None:
    file = use_arrays(GOLDEN, "golden.npz", **arrays)

    with pytest.raises(BundleError) as caught:
        load_bundle(file.parent, kind=JointBundle).golden()

    assert str(caught.value) == f"{file}: {message}"


def test_golden_rows_larger_than_any_memory_rejected(bundle_dir: Path, edit: Edit) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 56,)}
    )
    file = bundle_dir / "golden.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("obs.npy", header.getvalue())
    edit({f"{GOLDEN}.sha256": sha256(file)})

    with pytest.raises(BundleError, match=r"golden.npz: expected numpy arrays \(.npz\), found"):
        load_bundle(bundle_dir, kind=JointBundle).golden()


def test_golden_file_without_rows_rejected(use_arrays: UseArrays) -> None:
    file = use_arrays(GOLDEN, "golden.npz", obs=ROWS[:0], actions=ACTIONS[:0])

    with pytest.raises(BundleError, match=r"obs: expected an array \['rows', 12\], found float32"):
        load_bundle(file.parent, kind=JointBundle).golden()


def test_what_is_wrong_survives_the_way_from_another_process(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(tmp_path / "none", kind=JointBundle)

    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


def _assert_rejected(folder: Path, *lines: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, kind=JointBundle)

    assert str(caught.value).splitlines() == list(lines)


def _kept(bundle_dir: Path, edit: Edit, content: bytes) -> Path:
    file = bundle_dir / "reports" / "comparison_onnx.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    entry = {"file": "reports/comparison_onnx.json", "sha256": sha256_of(file)}
    edit({"reports": {"onnx": entry}})
    return file


def test_report_that_the_contract_names_is_read(bundle_dir: Path, edit: Edit) -> None:
    _kept(bundle_dir, edit, b'{"reference": "fp32"}')

    assert load_bundle(bundle_dir, kind=JointBundle).report("comparison_onnx") == {
        "reference": "fp32"
    }


def test_report_that_the_contract_does_not_name_is_none(bundle_dir: Path, edit: Edit) -> None:
    file = _kept(bundle_dir, edit, b"{}")
    file.with_name("comparison_rknn.json").write_text("{}", "utf-8")

    assert load_bundle(bundle_dir, kind=JointBundle).report("comparison_rknn") is None


def test_changed_report_rejected(bundle_dir: Path, edit: Edit) -> None:
    _kept(bundle_dir, edit, b"{}").write_bytes(b"{ }")

    with pytest.raises(BundleError, match=r"comparison_onnx\.json: expected sha256"):
        load_bundle(bundle_dir, kind=JointBundle).report("comparison_onnx")


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff\xfe", b"{"])
def test_report_that_is_no_mapping_rejected(bundle_dir: Path, edit: Edit, content: bytes) -> None:
    _kept(bundle_dir, edit, content)

    with pytest.raises(BundleError, match="expected a report, a mapping in JSON, found"):
        load_bundle(bundle_dir, kind=JointBundle).report("comparison_onnx")


def assert_no_rows(bundle: Path, edit: Edit) -> None:
    edit({f"{GOLDEN}.sha256": sha256(bundle / "golden.npz")})
    with pytest.raises(BundleError, match=r"golden\.npz: "):
        load_bundle(bundle, kind=JointBundle).golden()


def test_golden_rows_that_unpack_to_more_than_there_may_be_are_refused(
    bundle_dir: Path, edit: Edit
) -> None:
    with (
        zipfile.ZipFile(bundle_dir / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("obs.npy", "w") as member,
    ):
        for _ in range((1 << 28) // (1 << 20) + 1):
            member.write(bytes(1 << 20))
    assert_no_rows(bundle_dir, edit)


def test_contract_that_is_larger_than_any_is_refused_before_it_is_parsed(bundle_dir: Path) -> None:
    os.truncate(bundle_dir / "policy.yaml", (1 << 20) + 1)
    with pytest.raises(BundleError, match=r"policy\.yaml: expected a file, found more than 10485"):
        load_bundle(bundle_dir, kind=JointBundle)


def test_device_in_the_place_of_a_contract_is_never_read(bundle_dir: Path) -> None:
    (bundle_dir / "policy.yaml").unlink()
    (bundle_dir / "policy.yaml").symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=r"policy\.yaml: expected a file, found no regular file"):
        load_bundle(bundle_dir, kind=JointBundle)


@pytest.mark.parametrize(("key", "name"), [(GOLDEN, "golden.npz"), (STATS, "obs_stats.npz")])
def test_arrays_that_unpack_to_more_than_there_may_be_are_not_unpacked(
    bundle_dir: Path, edit: Callable[[Mapping[str, object]], Path], key: str, name: str
) -> None:
    """The directory of the archive states a size that its members need not have."""
    file = bundle_dir / name
    stated = struct.pack("<I", 2_000_000_000)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.start_dir
    content[at + 24 : at + 28] = stated
    file.write_bytes(content)
    edit({f"{key}.sha256": sha256_of(file)})
    with pytest.raises(BundleError, match=rf"{name}: .* found arrays of 20000.* bytes, more than"):
        load_bundle(bundle_dir, kind=JointBundle).golden()
