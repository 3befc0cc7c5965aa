# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools deploy triton` writes, in a real Triton, with the back end `oip` before it.

TRITON_PYTHON names the Python of an environment for this alone: `pip install nvidia-pytriton
onnxruntime`. The wheel has a Triton without the backend for ONNX models; `triton_model.py` is that.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_tools.cli import main
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import TensorSpec
from policy_inference.backends.registry import open_models
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.parity import require_parity

from .conftest import compile_oip

BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"
PYTHON = os.environ.get("TRITON_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="TRITON_PYTHON does not name a Python with nvidia-pytriton, onnxruntime"
    ),
]


Start = Callable[[Path], str]


def site_packages() -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def triton_backends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of Triton's backends: that of Python, and ours on top of it."""
    folder, installed = tmp_path_factory.mktemp("backends"), site_packages() / "pytriton"
    installed /= "tritonserver"
    stub = f"python_backend_stubs/{site_packages().parent.name.removeprefix('python')}"
    shutil.copytree(installed / "backends" / "python", folder / "python")
    shutil.copytree(installed / stub, folder / "python", dirs_exist_ok=True)
    (folder / "onnxruntime").mkdir()
    ours = Path(__file__).with_name("triton_model.py")
    shutil.copyfile(ours, folder / "onnxruntime" / "model.py")
    return folder


@pytest.fixture(scope="module")
def start_triton(triton_backends: Path) -> Iterator[Start]:
    """Serve a model repository; return the endpoint when all models are loaded."""
    running = list[subprocess.Popen[str]]()

    def apply(repository: Path) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            str(site_packages() / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={triton_backends}",
            f"--grpc-port={port}",
            "--grpc-address=127.0.0.1",
            "--allow-http=false",
            "--allow-metrics=false",
        ]
        # Nothing of this environment: its packages are of other versions.
        environment = {
            "PATH": f"{Path(PYTHON).parent}:{os.defpath}",
            "LD_LIBRARY_PATH": str(site_packages() / "nvidia_pytriton.libs"),
        }
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
        running.append(process)
        assert process.stderr is not None
        said = list[str]()
        while "Started GRPCInferenceService" not in (line := process.stderr.readline()):
            said.append(line)
            assert line, "".join(said)
        # What it says later must not fill the pipe.
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        return f"127.0.0.1:{port}"

    yield apply
    for process in running:
        process.kill()
        process.wait()


def deploy(bundle: Path, repository: Path, *options: str) -> None:
    assert main(["deploy", "triton", str(bundle), "--output", str(repository), *options]) == 0


@pytest.fixture(scope="module")
def served_arm(start_triton: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Serve the graphs of so101_reach; return the server and the robot's bundle."""
    folder = tmp_path_factory.mktemp("arm")
    deploy(BUNDLES / "so101_reach", folder / "repository", "--device", "cpu")
    compile_oip(BUNDLES / "so101_reach", folder / "remote")
    return start_triton(folder / "repository"), folder / "remote"


@pytest.mark.parametrize("shared_memory", ["no", "yes"])
def test_chunk_policy_gives_its_golden_chunks(
    served_arm: tuple[str, Path], shared_memory: str
) -> None:
    server, remote = served_arm
    bundle, kind = load_bundle(remote, kind=ChunkBundle), ChunkKind()
    options = {"endpoint": server, "shared_memory": shared_memory}

    with open_models(bundle.models, ["oip"], {"oip": options}) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))

        assert "onnxruntime_onnx" in models.runs_on


def test_ensemble_answers_images_and_state_with_the_chunk(
    served_arm: tuple[str, Path], tmp_path: Path
) -> None:
    server, _ = served_arm
    encoder, policy = (
        onnxruntime.InferenceSession(model.artifact("onnx")[1])
        for model in load_bundle(BUNDLES / "so101_reach", kind=ChunkBundle).models
    )
    rng = np.random.default_rng(1)
    given = {
        "front_image": rng.normal(size=(1, 3, 96, 128)).astype(np.float32),
        "wrist_image": rng.normal(size=(1, 3, 96, 128)).astype(np.float32),
        "states": rng.normal(size=(1, 6)).astype(np.float32),
    }
    features = {
        f"{camera}_features": encoder.run(None, {"images": given[f"{camera}_image"]})[0]
        for camera in ("front", "wrist")
    }
    (chunk,) = policy.run(None, {**features, "states": given["states"]})
    file = tmp_path / "ensemble.oip.npz"
    model = OipModel(model="so101_reach", endpoint=server)
    rows = {name: array[np.newaxis] for name, array in given.items()}
    write_oip_model(file, model, rows, {"Actions": chunk[np.newaxis]})
    inputs = [TensorSpec(name=name, shape=array.shape) for name, array in given.items()]

    with closing(OipBackend(file, inputs, [TensorSpec(name="Actions", shape=chunk.shape)])) as one:
        for name, array in given.items():
            one.inputs[name][...] = array
        one.run()

        np.testing.assert_allclose(
            one.outputs["Actions"].astype(np.float64), chunk, rtol=1e-4, atol=1e-4
        )


def test_joint_policy_gives_its_golden_rows(start_triton: Start, tmp_path: Path) -> None:
    deploy(BUNDLES / "lite3_walk", tmp_path / "repository")
    compile_oip(BUNDLES / "lite3_walk", tmp_path / "remote")
    server = start_triton(tmp_path / "repository")
    bundle, kind = load_bundle(tmp_path / "remote", kind=JointBundle), JointKind()
    options = {"oip": {"endpoint": server, "deadline_ms": "2000"}}

    with open_models(bundle.models, ["oip"], options) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))
