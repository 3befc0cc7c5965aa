# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what every back end must do when its runtime is missing or fails."""

import sys
from pathlib import Path

import pytest

from policy_core.errors import BackendError
from policy_inference.testing.case import (
    BackendCase,
    ConformanceFixtures,
    Open,
    assert_close,
    reference,
)


class FailingConformance(ConformanceFixtures):
    """Tests for packages, devices and runtimes; see `conformance.BackendConformance`."""

    def test_missing_runtime_names_the_package_and_the_remedy(
        self,
        open_file: Open,
        case: BackendCase,
        linear: Path,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        if case.package is None:
            pytest.skip("this back end needs no package")
        file = case.compile(linear)
        if case.without_package is not None:
            case.without_package(monkeypatch)
        else:
            _hide(case.package, tmp_path / "hidden", monkeypatch)

        with pytest.raises(BackendError, match=rf"{case.package}.*; .*{case.package_remedy}"):
            open_file(file)

    def test_missing_device_is_an_error_until_it_is_there(
        self, open_file: Open, case: BackendCase, linear: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not case.without_device:
            pytest.skip("this runtime needs no device")
        file = case.compile(linear)

        for says, change in case.without_device.items():
            with monkeypatch.context() as meanwhile:
                change(meanwhile)
                with pytest.raises(BackendError, match=says):
                    open_file(file)
        case.prepare(monkeypatch)
        backend = open_file(file)
        backend.inputs["obs"][:] = 1.0
        backend.run()

        assert_close(backend.outputs, reference(linear, backend.inputs), case.tolerance)

    def test_failing_run_is_an_error_and_can_be_closed(
        self, open_model: Open, case: BackendCase, linear: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not case.failing_runs:
            pytest.skip("nothing here can make this runtime fail")
        for change in case.failing_runs.values():
            with monkeypatch.context() as meanwhile:
                backend = open_model(linear)
                change(meanwhile)

                with pytest.raises(BackendError):
                    backend.run()
                backend.close()

        open_model(linear).run()

    def test_close_that_fails_is_logged_and_done(
        self,
        open_model: Open,
        case: BackendCase,
        linear: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if case.failing_close is None:
            pytest.skip("releasing this runtime cannot fail")
        backend = open_model(linear)
        with monkeypatch.context() as meanwhile:
            case.failing_close(meanwhile)
            backend.close()

        assert "while closing" in caplog.text
        with pytest.raises(BackendError, match="run after close"):
            backend.run()
        open_model(linear).run()


def _hide(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing a package fail as if it were not installed, here and in child processes."""
    top = package.partition(".")[0]
    folder.mkdir()
    (folder / f"{top}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{top}'\", name='{top}')\n", "utf-8"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, package, None)
