# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools deploy triton` writes, in a real Triton, with the back end `oip` before it.

TRITON_PYTHON names the Python of an environment for this alone: `pip install nvidia-pytriton
onnxruntime`. The wheel has a Triton without the backend for ONNX models; `triton_model.py` is that.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from model_tools.cli import main
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.registry import OpenedModels, open_models
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.parity import require_parity
from testkit.waiting import until

from ..tiny_bundle import make_bundle
from .conftest import compile_oip

BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"
PYTHON = os.environ.get("TRITON_PYTHON", "")
SECRET, HEADER = "0123456789abcdef", "triton-grpc-protocol-fleet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="TRITON_PYTHON does not name a Python with nvidia-pytriton, onnxruntime"
    ),
]


class Triton:
    """A server with a model repository, always on the same port."""

    def __init__(self, repository: Path, backends: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        self._options = [
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            f"--grpc-port={self.endpoint.rpartition(':')[2]}",
            "--grpc-address=127.0.0.1",
            "--allow-http=false",
            "--allow-metrics=false",
            *options,
        ]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and return when all models are loaded."""
        installed = site_packages() / "pytriton" / "tritonserver"
        # Nothing of this environment: its packages are of other versions.
        environment = {
            "PATH": f"{Path(PYTHON).parent}:{os.defpath}",
            "LD_LIBRARY_PATH": str(site_packages() / "nvidia_pytriton.libs"),
        }
        self._process = subprocess.Popen(
            [installed / "bin" / "tritonserver", *self._options],
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self._process.stderr is not None
        said = list[str]()
        while "Started GRPCInferenceService" not in (line := self._process.stderr.readline()):
            said.append(line)
            assert line, "".join(said)
        # What it says later must not fill the pipe.
        subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


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
def start_triton(triton_backends: Path) -> Iterator[Callable[..., Triton]]:
    with ExitStack() as stack:

        def apply(repository: Path, *options: str) -> Triton:
            server = Triton(repository, triton_backends, *options)
            stack.callback(server.kill)
            server.start()
            return server

        yield apply


def deploy(bundle: Path, repository: Path, *options: str) -> None:
    assert main(["deploy", "triton", str(bundle), "--output", str(repository), *options]) == 0


@pytest.fixture(scope="module")
def served_arm(
    start_triton: Callable[..., Triton], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Triton, Path]:
    """Serve the graphs of so101_reach; return the server and the robot's bundle."""
    folder = tmp_path_factory.mktemp("arm")
    deploy(BUNDLES / "so101_reach", folder / "repository", "--device", "cpu")
    compile_oip(BUNDLES / "so101_reach", folder / "remote")
    return start_triton(folder / "repository"), folder / "remote"


@pytest.mark.parametrize("shared_memory", ["no", "yes"])
def test_chunk_policy_gives_its_golden_chunks(
    served_arm: tuple[Triton, Path], shared_memory: str
) -> None:
    server, remote = served_arm
    bundle, kind = load_bundle(remote, kind=ChunkBundle), ChunkKind()
    options = {"endpoint": server.endpoint, "shared_memory": shared_memory}

    with open_models(bundle.models, ["oip"], {"oip": options}) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))

        assert "onnxruntime_onnx" in models.runs_on


def test_ensemble_answers_images_and_state_with_the_chunk(
    served_arm: tuple[Triton, Path], tmp_path: Path
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
    model = OipModel(model="so101_reach", endpoint=server.endpoint)
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


@pytest.fixture(scope="module")
def served_tiny(
    start_triton: Callable[..., Triton], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Triton, Path]:
    """Serve a small joint policy to clients that know a token; return the server and the bundle."""
    folder = tmp_path_factory.mktemp("tiny")
    source = make_bundle(folder / "tiny")
    deploy(source, folder / "repository", "--device", "cpu", "--model-version", "3")
    (folder / "token").write_text(SECRET)
    server = start_triton(
        folder / "repository", f"--grpc-restricted-protocol=inference:fleet={SECRET}"
    )
    return server, source


@pytest.fixture
def open_remote(
    served_tiny: tuple[Triton, Path], tmp_path: Path
) -> Iterator[Callable[..., OpenedModels]]:
    """Open a bundle that was compiled for the small policy, or for another one."""
    server, own = served_tiny
    token = own.parent / "token"
    with ExitStack() as stack:

        def apply(
            source: Path = own,
            options: Sequence[str] = (),
            header: str = HEADER,
            shared_memory: str = "no",
        ) -> OpenedModels:
            compile_oip(source, tmp_path / "remote", "--force", *options)
            bundle = load_bundle(tmp_path / "remote", kind=JointBundle)
            given = {
                "endpoint": server.endpoint,
                "deadline_ms": "2000",
                "token_file": str(token),
                "token_header": header,
                "shared_memory": shared_memory,
            }
            return stack.enter_context(open_models(bundle.models, ["oip"], {"oip": given}))

        yield apply


def model_runs(models: OpenedModels) -> bool:
    try:
        models.first.run()
    except BackendError:
        return False
    return True


def test_joint_policy_gives_its_golden_rows(
    start_triton: Callable[..., Triton], tmp_path: Path
) -> None:
    deploy(BUNDLES / "lite3_walk", tmp_path / "repository")
    compile_oip(BUNDLES / "lite3_walk", tmp_path / "remote")
    server = start_triton(tmp_path / "repository")
    bundle, kind = load_bundle(tmp_path / "remote", kind=JointBundle), JointKind()
    options = {"oip": {"endpoint": server.endpoint, "deadline_ms": "2000"}}

    with open_models(bundle.models, ["oip"], options) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))


def test_token_goes_into_the_header_of_a_restricted_triton(
    open_remote: Callable[..., OpenedModels],
) -> None:
    assert model_runs(open_remote())
    with pytest.raises(BackendError, match="fleet"):
        open_remote(header="authorization")


def test_other_model_behind_the_name_is_refused_by_hash_and_by_rows(
    open_remote: Callable[..., OpenedModels], tmp_path: Path
) -> None:
    def doubled(weights: dict[str, npt.NDArray[np.float32]]) -> None:
        for array in weights.values():
            array *= 2.0

    other = make_bundle(tmp_path / "other", edit=doubled)

    with pytest.raises(BackendError, match="sha256"):
        open_remote(other)
    with pytest.raises(BackendError):
        open_remote(other, ["--precision", "fp16"])


def test_version_that_is_not_served_is_named(open_remote: Callable[..., OpenedModels]) -> None:
    with pytest.raises(BackendError):
        open_remote(options=["--option", "version=7"])


@pytest.mark.parametrize("shared_memory", ["no", "yes"])
def test_server_that_is_killed_or_hangs_is_used_again(
    served_tiny: tuple[Triton, Path], open_remote: Callable[..., OpenedModels], shared_memory: str
) -> None:
    server, _ = served_tiny
    models = open_remote(shared_memory=shared_memory)
    server.kill()
    with pytest.raises(BackendError):
        models.first.run()
    assert server.endpoint in models.problem
    server.start()
    until(lambda: model_runs(models))

    server.signal(signal.SIGSTOP)
    with pytest.raises(BackendError):
        models.first.run()
    server.signal(signal.SIGCONT)
    until(lambda: model_runs(models))
