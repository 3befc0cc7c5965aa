# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Built engines in the user's cache folder; writes are atomic, even across processes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from policy_core.errors import BackendError
from policy_core.safe_files import whole_file
from policy_inference.backends.tensorrt.sidecar import (
    Fingerprint,
    PlanSidecar,
    read_sidecar,
    sidecar_path,
)

_log = logging.getLogger("policy_inference")


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/policy_inference/tensorrt."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # XDG specification: a relative path must be ignored.
    base = Path(home) if Path(home).is_absolute() else Path("~/.cache").expanduser()
    return base / "policy_inference" / "tensorrt"


class PlanCache:
    """Stores plans in a folder, by fingerprint; a plan may be deleted, and is then rebuilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, fingerprint: Fingerprint) -> bytes | None:
        """Return a plan; None if it is missing or damaged."""
        plan = self._plan(fingerprint)
        try:
            sidecar, content = read_sidecar(plan), plan.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: ignored, because it cannot be read: %s", plan, error)
            return None
        if sidecar.plan_sha256 != hashlib.sha256(content).hexdigest():
            _log.warning(
                "%s: ignored, because its hash does not match the stored one (the file was changed "
                "or damaged)",
                plan,
            )
            return None
        return content

    def of_model(self, model_sha256: str, precision: str) -> list[Fingerprint]:
        """Return the fingerprints of a model's plans with this precision."""
        return [
            sidecar.fingerprint
            for sidecar in self._sidecars()
            if sidecar.fingerprint.model_sha256 == model_sha256
            and sidecar.fingerprint.precision == precision
        ]

    def store(self, fingerprint: Fingerprint, plan: bytes, source: Path, seconds: float) -> None:
        """Write a plan, and then the JSON file that makes the plan valid.

        Raises:
            BackendError: The folder cannot be written.
        """
        sidecar = PlanSidecar(
            fingerprint=fingerprint,
            plan_sha256=hashlib.sha256(plan).hexdigest(),
            source=str(source),
            seconds=round(seconds, 3),
        )
        path = self._plan(fingerprint)
        with self._writable():
            for place, content in (path, plan), (sidecar_path(path), sidecar.text().encode()):
                with whole_file(place) as file:
                    file.write(content)

    @contextmanager
    def alone(self, fingerprint: Fingerprint) -> Iterator[None]:
        """Lock a plan against builds in other processes; if a build is in progress, wait for it.

        Raises:
            BackendError: The folder cannot be written.
        """
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(
                self._plan(fingerprint).with_suffix(".lock"),
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                0o600,
            )
        try:
            with self._writable():
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _plan(self, fingerprint: Fingerprint) -> Path:
        return self.folder / f"{fingerprint.key}.plan"

    def _sidecars(self) -> Iterator[PlanSidecar]:
        for plan in sorted(self.folder.glob("*.plan")):
            with suppress(OSError, ValueError):  # skip damaged files
                yield read_sidecar(plan)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackendError(
                f"{self.folder}: expected a writable folder for built engines, "
                f"found: {error.strerror}; set another in XDG_CACHE_HOME"
            ) from error
