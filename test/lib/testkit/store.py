# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Roots of installed bundles: versions of a bundle, keys, and what tests do with them."""

from __future__ import annotations

import base64
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from onnx import TensorProto, helper, numpy_helper

from policy_core.bundle.signature import signature_path
from policy_core.bundle.store import current_version, installed_versions
from policy_store.activation import way_back
from policy_store.commands import main as store
from policy_store.installed import models_in
from policy_store.inventory import verify
from policy_store.trial_record import newest_trial
from testkit.disks import DyingDisk, working
from testkit.edits import reword
from testkit.tiny_contract import write_tiny_contract
from testkit.watching import checked
from testkit.wording import check_wording

NAME = "tiny"
NOBODY = 65534
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
MakeVersion = Callable[..., Path]


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a root nor keys of the machine that runs the tests."""
    for variable in (
        "POLICY_INFERENCE_MODELS",
        "POLICY_INFERENCE_PUBLIC_KEY",
        "POLICY_INFERENCE_KEY_PASSWORD",
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle around the smallest model."""
    folder = tmp_path_factory.mktemp("template")
    weights = numpy_helper.from_array(np.eye(6, 2, dtype=np.float32), "w")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("obs", 6), ("actions", 2))
    ]
    node = helper.make_node("MatMul", ["obs", "w"], ["actions"])
    graph = helper.make_graph([node], "tiny", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "policy.onnx")
    obs = np.linspace(-1.0, 1.0, 60, dtype=np.float32).reshape(10, 6)
    np.savez(folder / "golden.npz", allow_pickle=False, obs=obs, actions=obs[:, :2])
    write_tiny_contract(folder)
    return folder


@pytest.fixture(scope="session")
def make_version(template: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeVersion:
    """Return what makes a bundle of a version, with more changes to its contract if wanted."""

    def make(version: str = "1.0.0", *changes: tuple[str, str]) -> Path:
        folder = shutil.copytree(template, tmp_path_factory.mktemp("bundle") / NAME)
        reword(folder / "policy.yaml", ('version: "1.0.0"', f'version: "{version}"'), *changes)
        return folder

    return make


@pytest.fixture(scope="session")
def three(make_version: MakeVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with three versions that were activated in their order; to be copied."""
    root = tmp_path_factory.mktemp("three") / "models"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POLICY_INFERENCE_PUBLIC_KEY", raising=False)
        for version in VERSIONS:
            assert tool("install", make_version(version), "--activate", "--root", root) == 0
    return root


@pytest.fixture
def root(three: Path, tmp_path: Path) -> Path:
    """That root, the test's own."""
    return shutil.copytree(three, tmp_path / "models", symlinks=True)


def tool(*args: object) -> int:
    """Run a verb, of `policy_store` where it has it; return the exit status."""
    if args[0] in store.COMMANDS:
        return store.main([str(arg) for arg in args])
    from model_tools import cli  # for tests of model_tools, which are above

    return cli.main([str(arg) for arg in args])


def tool_refused(*args: object) -> str:
    """Run a command that must be refused, and compare its message with the wording; return it."""
    said = list[str]()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        assert tool(*args) == 4
    finally:
        logging.getLogger().removeHandler(handler)
    check_wording(said[-1])
    return said[-1]


def sign(file: Path, private: Path) -> None:
    """Sign a contract or a statement as `model_tools sign` does, without looking at it."""
    key = load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    signature_path(file).write_bytes(base64.b64encode(key.sign(file.read_bytes())) + b"\n")


def make_keys(folder: Path, name: str = "team", password: str = "") -> tuple[Path, Path]:
    """Make a private key and its public one."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    cipher = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def in_use(root: Path) -> tuple[str | None, list[str]]:
    """Return the version in use, and those before it, the nearest first."""
    return current_version(root / NAME), way_back(root / NAME)


def versions(root: Path) -> list[str]:
    """Return what is installed."""
    return installed_versions(root / NAME)


def verify_problems(root: Path) -> list[str]:
    """Return what `verify` finds wrong; nothing where nothing is installed yet."""
    return [one.problem for one in verify(root) if one.problem] if models_in(root) else []


def hidden_names(root: Path) -> list[str]:
    """Return what is in the making, or was left."""
    return sorted(path.name for path in (root / NAME).glob(".*"))


def in_child(does: Callable[[], int]) -> int:
    """Do something in a process of its own; return its exit status, below 0 for a signal."""
    pid = os.fork()
    if pid == 0:
        end_with(does)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_with(does: Callable[[], int]) -> NoReturn:
    """Do something, then end this process, whose copy of pytest must not go on."""
    status = 99
    try:
        status = does()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


STORE_INVARIANTS = {
    "one_version_in_use": "The version in use is installed.",
    "no_version_without_record": "Each installed version has its complete record: contract, "
    "files, hashes.",
    "way_back_is_there": "Each version that `rollback` can return to is installed.",
    "trial_is_not_in_use": "A version on trial, or one that failed its trial, is not the version "
    "in use.",
}
"""What holds of a root, by name."""


def store_violations(root: Path) -> list[str]:
    """Return which invariants a root violates."""
    used, back = in_use(root)
    there, trial = versions(root), newest_trial(root / NAME)
    holds = {
        "one_version_in_use": used is None or used in there,
        "no_version_without_record": not verify_problems(root),
        "way_back_is_there": set(back) <= set(there),
        "trial_is_not_in_use": trial is None
        or used != trial.version
        or not (trial.nodes_take_it or trial.is_bad),
    }
    checked.update(holds)
    return [name for name in STORE_INVARIANTS if not holds[name]]


def tool_killed(at: int, *args: object) -> bool:
    """Run the command and kill it at its `at`-th change; return whether it came so far."""
    root = Path(str(args[args.index("--root") + 1]))

    def does() -> int:
        with working(DyingDisk(root, at)):
            return tool(*args)

    status = in_child(does)
    assert status in (0, -signal.SIGKILL)
    assert not store_violations(root)
    return status != 0


ON_ROBOT = {
    *("policy_store", "policy_core"),
    *("numpy", "yaml", "_yaml", "cryptography", "_cffi_backend", "urllib3"),
}
CHILD = """
import importlib.abc, os, sys
allowed = {allowed} | set(sys.stdlib_module_names)
class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"a robot has no {{name}}", name=name)
sys.meta_path.insert(0, Bare())
for refused in ("cv2", "model_tools", "onnxruntime", "policy_inference", "rclpy", "rich"):
    try:
        __import__(refused)
        sys.exit(f"{{refused}} was found")
    except ModuleNotFoundError:
        pass
from policy_store.commands import main as cli
sys.argv[0] = "policy_store"
for args in {commands}:
    if cli.main(args):
        sys.exit(f"{{args}} failed")
"""


def run_as_robot(commands: Sequence[Sequence[str]]) -> None:
    """Run commands in a process that has what a robot has; each must end with 0."""
    code = CHILD.format(allowed=ON_ROBOT, commands=[list(command) for command in commands])
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
