# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every backend must do when it is opened and closed."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec

from ..models import save_linear
from .case import (
    ACTIONS,
    H_IN,
    H_OUT,
    OBS,
    BackendCase,
    Open,
    Specs,
    assert_close,
    described,
    reference,
)


class OpeningConformance:
    """Tests of opening and closing; see `conformance.BackendConformance`."""

    @pytest.fixture
    def open_model(self, case: BackendCase) -> Iterator[Open]:
        """Compile an ONNX file and open it; what is open at the end is closed."""
        with ExitStack() as stack:

            def apply(
                onnx: Path, inputs: Specs = (OBS,), outputs: Specs = (ACTIONS,)
            ) -> BackendBase:
                backend = case.load()(case.compile(onnx), inputs, outputs)
                return stack.enter_context(closing(backend))

            yield apply

    @pytest.fixture
    def linear(self, tmp_path: Path) -> Path:
        """ONNX file of actions[1, 3] = obs[1, 5] @ weights."""
        return save_linear(tmp_path / "linear.onnx", 5, 3)

    def test_arrays_have_the_names_shapes_and_types_of_the_contract(
        self, open_model: Open, linear: Path
    ) -> None:
        backend = open_model(linear)

        assert described(backend.inputs) == [OBS]
        assert described(backend.outputs) == [ACTIONS]
        assert all(array.flags.c_contiguous and array.flags.writeable
                   for array in (*backend.inputs.values(), *backend.outputs.values()))

    def test_details_tell_the_runtime_and_the_device(self, open_model: Open, linear: Path) -> None:
        details = open_model(linear).details

        assert details["runtime"]
        assert details["device"]
        assert all(isinstance(text, str) for text in details.values())

    def test_open_batch_axis_is_accepted(
        self, open_model: Open, tmp_path: Path, case: BackendCase
    ) -> None:
        if not case.dynamic_batch:
            pytest.skip("files of this runtime have fixed sizes")
        file = save_linear(tmp_path / "dynamic.onnx", 5, 3, batch="batch")
        backend = open_model(file)
        backend.inputs["obs"][:] = 1.0

        backend.run()

        assert_close(backend.outputs, reference(file, backend.inputs), case.tolerance)

    def test_closing_one_backend_leaves_the_other_open(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        one, other = open_model(linear), open_model(linear)
        one.inputs["obs"][:] = 1.0

        other.close()
        one.run()

        assert_close(one.outputs, reference(linear, one.inputs), case.tolerance)

    def test_closing_twice_does_nothing(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)

        backend.close()
        backend.close()

    def test_run_after_close_is_an_error(self, open_model: Open, linear: Path) -> None:
        backend = open_model(linear)
        backend.close()

        with pytest.raises(BackendError, match="run after close"):
            backend.run()

    def test_model_opens_again_after_close(
        self, open_model: Open, linear: Path, case: BackendCase
    ) -> None:
        open_model(linear).close()
        backend = open_model(linear)
        backend.inputs["obs"][:] = 1.0

        backend.run()

        assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    @pytest.mark.parametrize("damage", ["missing", "empty", "half of it", "junk", "text"])
    def test_file_that_is_no_model_rejected(
        self, case: BackendCase, linear: Path, damage: str
    ) -> None:
        file = case.compile(linear)
        content = file.read_bytes()
        file.unlink()
        new = {"empty": b"", "half of it": content[: len(content) // 2], "text": b"a policy\n",
               "junk": bytes(range(256)) * 4}  # fmt: skip
        if damage in new:
            file.write_bytes(new[damage])

        with pytest.raises(BackendError) as caught:
            case.load()(file, [OBS], [ACTIONS])

        assert str(file) in str(caught.value)

    def test_missing_runtime_names_the_package_to_install(
        self, case: BackendCase, linear: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if case.in_child:
            pytest.skip("the other process has modules of its own")
        file, cls = case.compile(linear), case.load()
        monkeypatch.setitem(sys.modules, case.package, None)

        with pytest.raises(BackendError, match=f"{case.package}.*; install"):
            cls(file, [OBS], [ACTIONS])

    @pytest.mark.parametrize(
        ("inputs", "outputs", "expected", "found"),
        [
            ([TensorSpec(name="observation", shape=(1, 5))], [ACTIONS], "observation float32[1, 5]",
             "obs float32[1, 5]"),
            ([OBS], [TensorSpec(name="act", shape=(1, 3))], "act float32[1, 3]",
             "actions float32[1, 3]"),
            ([], [ACTIONS], "none", "obs float32[1, 5]"),
            ([OBS], [], "none", "actions float32[1, 3]"),
            ([OBS, H_IN], [ACTIONS], "obs float32[1, 5], h_in float32[1, 3]", "obs float32[1, 5]"),
            ([OBS], [ACTIONS, H_OUT], "actions float32[1, 3], h_out float32[1, 3]",
             "actions float32[1, 3]"),
            ([TensorSpec(name="obs", shape=(1, 6))], [ACTIONS], "obs float32[1, 6]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(5,))], [ACTIONS], "obs float32[5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(1, 1, 5))], [ACTIONS], "obs float32[1, 1, 5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(2, 5))], [ACTIONS], "obs float32[2, 5]",
             "obs float32[1, 5]"),
            ([TensorSpec(name="obs", shape=(1, 5), dtype="float16")], [ACTIONS],
             "obs float16[1, 5]", "obs float32[1, 5]"),
            ([OBS], [TensorSpec(name="actions", shape=(1, 4))], "actions float32[1, 4]",
             "actions float32[1, 3]"),
            ([OBS], [TensorSpec(name="actions", shape=(1, 3), dtype="int64")],
             "actions int64[1, 3]", "actions float32[1, 3]"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_tensors_other_than_the_contracts_rejected(
        self, case: BackendCase, linear: Path, inputs: Specs, outputs: Specs, expected: str,
        found: str,
    ) -> None:
        file = case.compile(linear)

        with pytest.raises(BackendError) as caught:
            case.load()(file, inputs, outputs)

        message = str(caught.value)
        assert message.startswith(f"{file}: ")
        assert expected in message.partition("expected ")[2].partition(", found ")[0]
        assert f"found {found}" in message
