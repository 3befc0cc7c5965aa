# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what every back end must do when a file does not match its contract."""

from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.registry import open_backend, read_tensors
from policy_inference.testing.bundles import write_contract
from policy_inference.testing.case import (
    ACTIONS,
    H_OUT,
    OBS,
    BackendCase,
    ConformanceFixtures,
    Open,
    Specs,
    assert_close,
    reference,
)
from policy_inference.testing.models import save_linear


class FileConformance(ConformanceFixtures):
    """Tests for files, contracts and options; see `conformance.BackendConformance`."""

    @pytest.mark.parametrize(
        "content",
        [None, "folder", b"", bytes(range(256)) * 4],
        ids=["missing", "folder", "empty", "junk"],
    )
    def test_file_that_is_no_model_rejected(
        self, open_file: Open, case: BackendCase, linear: Path, content: bytes | str | None
    ) -> None:
        file = case.compile(linear)
        file.unlink()
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content:
            file.mkdir()

        with pytest.raises(BackendError) as caught:
            open_file(file)

        assert str(file) in str(caught.value)

    @pytest.mark.parametrize("kept", [8, -1], ids=["eight bytes", "all but one byte"])
    def test_file_that_was_cut_off_rejected(
        self, open_file: Open, case: BackendCase, linear: Path, kept: int
    ) -> None:
        file = case.compile(linear)
        file.write_bytes(file.read_bytes()[:kept])

        with pytest.raises(BackendError) as caught:
            open_file(file)

        assert str(file) in str(caught.value)

    def test_bundle_opens_by_the_registered_name(
        self, case: BackendCase, tiny_bundle: tuple[Path, Path]
    ) -> None:
        onnx, file = tiny_bundle
        folder = write_contract(file, case.name, case.precision, case.target)

        backend, reasons = open_backend(
            load_bundle(folder, kind=JointBundle), [case.name], {case.name: case.options}
        )
        backend.inputs["obs"][:] = 1.0
        backend.run()
        backend.close()

        assert (backend.name, reasons) == (case.name, ())
        assert_close(backend.outputs, reference(onnx, backend.inputs), case.tolerance)

    def test_tensors_read_without_a_contract_are_those_of_the_model(
        self, case: BackendCase, linear: Path
    ) -> None:
        file = case.compile(linear)

        if case.reads_tensors:
            found = read_tensors(case.name, file)
            assert tuple(map(tuple, found)) == ((OBS,), (ACTIONS,))
            return
        with pytest.raises(BackendError, match="make a bundle") as caught:
            read_tensors(case.name, file)
        assert str(file) in str(caught.value)

    @pytest.fixture
    def tiny_bundle(self, case: BackendCase, tmp_path: Path) -> tuple[Path, Path]:
        """ONNX file of the smallest bundle, and the file compiled from it."""
        onnx = save_linear(tmp_path / "tiny.onnx", 2, 1)
        return onnx, case.compile(onnx)

    def test_file_in_another_precision_than_the_contracts_rejected(
        self, open_model: Open, case: BackendCase, linear: Path
    ) -> None:
        if case.other_precision is None:
            pytest.skip("no file of this runtime states its precision")

        with pytest.raises(
            BackendError,
            match=rf"expected .*, found .*{case.other_precision}|"
            rf"expected {case.other_precision}.*, found ",
        ):
            open_model(linear, precision=case.other_precision)

    def test_file_for_another_target_than_the_contracts_rejected(
        self, open_model: Open, case: BackendCase, linear: Path
    ) -> None:
        if case.other_target is None:
            pytest.skip("no file of this runtime states what it was compiled for")

        with pytest.raises(BackendError, match=rf"expected .*{case.other_target}.*, found "):
            open_model(linear, target=case.other_target)

    def test_unknown_option_rejected(
        self, open_model: Open, case: BackendCase, linear: Path
    ) -> None:
        with pytest.raises(BackendError, match=f"^{case.name}: expected .*options.*, found colour"):
            open_model(linear, options={**case.options, "colour": "red"})

    @pytest.mark.parametrize(
        ("inputs", "outputs", "expected", "found"),
        [
            (
                [TensorSpec(name="observation", shape=(1, 5))],
                [ACTIONS],
                "observation float32[1, 5]",
                str(OBS),
            ),
            ([OBS], [TensorSpec(name="act", shape=(1, 3))], "act float32[1, 3]", str(ACTIONS)),
            ([], [ACTIONS], "none", str(OBS)),
            ([OBS], [ACTIONS, H_OUT], f"{ACTIONS}, {H_OUT}", str(ACTIONS)),
            *(
                (
                    [TensorSpec(name="obs", shape=shape)],
                    [ACTIONS],
                    f"obs float32{[*shape]}",
                    str(OBS),
                )
                for shape in ((1, 6), (5,))
            ),
            (
                [TensorSpec(name="obs", shape=(1, 5), dtype="float16")],
                [ACTIONS],
                "obs float16[1, 5]",
                str(OBS),
            ),
            (
                [OBS],
                [TensorSpec(name="actions", shape=(1, 4))],
                "actions float32[1, 4]",
                str(ACTIONS),
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_tensors_other_than_the_contracts_rejected(
        self,
        open_model: Open,
        linear: Path,
        inputs: Specs,
        outputs: Specs,
        expected: str,
        found: str,
    ) -> None:
        with pytest.raises(BackendError) as caught:
            open_model(linear, inputs, outputs)

        message = str(caught.value)
        assert message.startswith(str(linear.with_suffix("")))
        assert expected in message.partition("expected ")[2].partition(", found ")[0]
        assert f"found {found}" in message
