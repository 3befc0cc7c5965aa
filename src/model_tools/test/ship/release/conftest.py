# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A release of a tiny bundle, and reports as other commands write them."""

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_file
from testkit.store import MakeVersion, make_keys, tool
from testkit.wording import check_wording


class Candidate:
    """Where a release is worked on: its file, and reports in its folder."""

    def __init__(
        self, folder: Path, bundle: Path, baseline: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.folder, self.bundle, self.baseline = folder, bundle, baseline
        self.file = folder / "tiny.release.yaml"
        self.sha256 = sha256_file(bundle / "policy.yaml")
        self.sha256_before = sha256_file(baseline / "policy.yaml")
        self.version_before = load_bundle(baseline).contract.version
        self._caplog = caplog

    def report(self, name: str, document: Any) -> Path:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(document), "utf-8")
        return file

    def limit(self, **values: Any) -> None:
        """Change what stands above the history: of the file, of its stages, or of the shadow."""
        document = yaml.safe_load(self.file.read_text("utf-8"))
        for key, value in values.items():
            stages = document["stages"]
            where = document if key in document else stages if key in stages else stages["shadow"]
            where[key] = value
        self.file.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    def record(self, stage: str, *reports: Path | str) -> int:
        args = [part for report in reports for part in ("--evidence", report)]
        return tool("release", "record", self.file, stage, *args, "--by", "me")

    def prove(self, stage: str, document: Any, robot: str = "r1") -> int:
        """Write a report of a robot and record it; return the exit status."""
        return self.record(stage, f"{robot}={self.report(f'{stage}_{robot}', document)}")

    def record_refused(self, stage: str, *reports: Path | str) -> None:
        """Record evidence that must be refused, and compare the message."""
        args = [part for report in reports for part in ("--evidence", report)]
        self.refused("release", "record", self.file, stage, *args, "--by", "me")

    def refused(self, *command: Path | str) -> None:
        """Run a command that must be refused, and compare the message."""
        self._caplog.clear()
        assert tool(*command) == 4
        check_wording(self._caplog.messages[-1])

    def status(self) -> tuple[int, dict[str, Any]]:
        """Return the exit status and the document of `release status`."""
        with redirect_stdout(io.StringIO()) as shown:
            found = tool("release", "status", self.file, "--json")
        return found, json.loads(shown.getvalue())

    def promote(self) -> int:
        return tool("release", "promote", self.file, "--by", "Ada")

    def simulation(self, *, holds: bool = True, **other: Any) -> dict[str, Any]:
        return {
            "kind": "release_simulation",
            "bundle_sha256": self.sha256,
            "baseline_sha256": self.sha256_before,
            "walk_s": 20.0,
            "checks": [{"text": "walks cut short: 0", "holds": holds}],
        } | other

    def shadow(self, **divergence: Any) -> dict[str, Any]:
        """Return the part about the shadow of a replay: of an hour at 50 Hz."""
        host = divergence.pop("host", "r1")
        ticks = {"compared": 180_000, "skipped": 7, "lost": 0, "failed": 0, "not_finite": 0}
        found = {
            "joints": ["hip", "knee"],
            "ticks": ticks | divergence.pop("ticks", {}),
            "beyond_limits": 0,
            "max": [1e-5, 2e-5],
            "rms": [1e-6, 2e-6],
            "rms_steps": [1e-5, 1e-5],
            "moves": [0.2, 0.3],
            "gain": [1.0, 1.0],
            "correlation": [1.0, 1.0],
            "torque_error": [0.0, 0.0],
        }
        return {
            "bundle_sha256": self.sha256_before,
            "backend": "onnx",
            "host": host,
            "begins_ns": divergence.pop("begins_ns", int.from_bytes(host.encode(), "big")),
            "shadow": {
                "bundle_sha256": self.sha256,
                "backend": divergence.pop("backend", "onnx"),
                "contract_differences": [],
                "systematic": divergence.pop("systematic", {"all": [0.1, 0.1]}),
                "divergence": found | divergence,
            },
        }

    def trial(self, state: str = "passed", **other: Any) -> dict[str, Any]:
        return {
            "name": "tiny",
            "state": state,
            "bundle_sha256": self.sha256,
            "run_time_s": 600.0,
            "reason": "",
            "host": "r1",
            "version_before": self.version_before,
            "unchecked_gates": [],
            "begun_time": "2026-03-14T09:15:02Z",
        } | other

    def fleet(self, **healths: str) -> dict[str, Any]:
        """Return the status of a fleet, by robot: healthy, bad, unknown or old."""
        return {
            "health": "?",
            "robots": [
                {
                    "robot": robot,
                    "policy": "tiny@1.1.0",
                    "sha256": "0" * 64 if health == "old" else self.sha256,
                    "health": "healthy" if health == "old" else health,
                    "reasons": ["it limps"] if health == "bad" else [],
                    "run_s": 60.0,
                }
                for robot, health in healths.items()
            ],
        }


@pytest.fixture(scope="session")
def begun(
    make_version: MakeVersion, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """A signed bundle, its baseline, and the file of their release, to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    private, _ = make_keys(folder)
    bundle, baseline, file = make_version("1.1.0"), make_version("1.0.0"), folder / "release.yaml"
    assert tool("sign", bundle, "--key", private) == 0
    assert tool("release", "new", bundle, "--baseline", baseline, "--output", file) == 0
    return bundle, baseline, file


@pytest.fixture
def proposal(
    begun: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Candidate:
    """A release with its baseline, before its first evidence."""
    bundle, baseline, file = begun
    folder = tmp_path / "releases"
    folder.mkdir()
    new = Candidate(folder, bundle, baseline, caplog)
    shutil.copy(file, new.file)
    return new
