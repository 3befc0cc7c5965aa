# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Engines are built once, for exactly this model and machine, and are there whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from policy_core.errors import BackendError
from policy_inference.backends.tensorrt.cache import PlanCache
from policy_inference.backends.tensorrt.sidecar import Fingerprint
from testkit.wording import refusal

from .conftest import FROM_CACHE, Install, Open

PRINT = Fingerprint(
    model_sha256="0" * 64,
    precision="fp32",
    tensorrt="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    cuda="12.6",
    driver="12.6",
    flags="none",
)


def test_an_engine_is_built_once_and_only_with_leave(
    install_gpu: Install, open_trt: Open, cache: Path
) -> None:
    gpu = install_gpu()
    with refusal(BackendError):
        open_trt(build="no")
    assert "build" not in gpu.calls
    assert not cache.exists()
    first, second = open_trt(), open_trt(build="no")
    assert gpu.calls.count("build") == 1
    assert first.details["engine"].startswith("built ")
    assert second.details["engine"] == FROM_CACHE


@pytest.mark.parametrize("field", [field.name for field in fields(Fingerprint)])
def test_every_part_of_the_fingerprint_counts(tmp_path: Path, field: str) -> None:
    cache = PlanCache(tmp_path)
    cache.store(PRINT, b"plan", Path("model.onnx"), 1.0)
    other = replace(PRINT, **{field: "other"})
    assert cache.find(PRINT) is not None
    assert cache.find(other) is None
    assert "was" in cache.why_missing(other, Path("model.onnx"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.write_bytes(plan.read_bytes()[:-1]),
        lambda plan: plan.unlink(),
        lambda plan: plan.with_name(f"{plan.name}.json").unlink(),
        lambda plan: plan.with_name(f"{plan.name}.json").write_text("{", "utf-8"),
        lambda plan: plan.with_name(f"{plan.name}.json").write_text("[]", "utf-8"),
    ],
    ids=["cut off", "gone", "no JSON", "half a JSON", "another"],
)
def test_a_damaged_engine_is_built_again(
    install_gpu: Install, open_trt: Open, cache: Path, damage: Callable[[Path], object]
) -> None:
    gpu = install_gpu()
    open_trt()
    (plan,) = cache.glob("*.plan")
    damage(plan)
    open_trt()
    assert gpu.calls.count("build") == 2
    assert open_trt().details["engine"] == FROM_CACHE


def test_a_folder_that_cannot_be_written_is_named(
    install_gpu: Install, open_trt: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_gpu()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with refusal(BackendError):
        open_trt()


def test_two_that_build_at_once_build_once(install_gpu: Install, open_trt: Open) -> None:
    gpu = install_gpu()
    begun, go_on = threading.Event(), threading.Event()
    details: list[str] = []

    class Waiting(list[str]):
        def append(self, call: str) -> None:
            super().append(call)
            if call == "build":
                begun.set()
                go_on.wait(10.0)

    gpu.calls = Waiting()

    def run() -> None:
        details.append(open_trt().details["engine"])

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10.0)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10.0)
    assert gpu.calls.count("build") == 1
    assert sorted(text.split()[0] for text in details) == ["built", "from"]
