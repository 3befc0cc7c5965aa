# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a model repository for Triton from a bundle, with YAML for KServe.

Each model of the bundle becomes a model of the repository with the contract's shapes and no
additional batch axis. A chunk policy with encoders also becomes an ensemble, which computes the
chunk from the images in one request, unless there is a condition graph, which runs once for many
requests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from model_tools.files.outputs import new_folder
from policy_core.bundle.bundle import AnyBundle, served_name
from policy_core.bundle.contract import Tensor
from policy_inference.backends.registry import artifacts_for
from policy_inference.open_inference import POLICY_SHA256

MODEL, KSERVE = "onnx", "kserve.yaml"
DEVICES: Mapping[str, str] = {"cpu": "KIND_CPU", "gpu": "KIND_GPU", "auto": "KIND_AUTO"}
_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "uint8": "TYPE_UINT8",
}
_OWNED = ("*/config.pbtxt", "*/*/model.onnx", "*/*/.keep", KSERVE)
Tensors = Mapping[str, Tensor]


def write_repository(
    bundle: AnyBundle,
    output: Path,
    *,
    version: int = 1,
    instances: int = 1,
    device: str = "auto",
    storage: str = "",
    force: bool = False,
) -> list[str]:
    """Write a model repository; return the names of its models.

    Args:
        bundle: Bundle whose ONNX models are served.
        output: Folder of the repository.
        version: Version number of the models in Triton; the policy's own version is a parameter.
        instances: Number of concurrent runs of a model.
        device: One of `DEVICES`.
        storage: URI of the repository for KServe.
        force: Replace an existing repository.
    """
    contract, names = bundle.contract, list[str]()
    with new_folder(output, marker=KSERVE, force=force, owned=_OWNED) as folder:
        for key, (artifact, file) in artifacts_for(bundle, MODEL).items():
            name, graph = served_name(contract, key), contract.models[key]
            place = folder / name / str(version)
            place.mkdir(parents=True)
            shutil.copyfile(file, place / "model.onnx")
            parameters = {
                POLICY_SHA256: artifact.sha256,
                "policy": contract.name,
                "policy_version": contract.version,
            }
            lines = [
                f"name: {json.dumps(name)}",
                'backend: "onnxruntime"',
                *_tensors(graph.inputs, graph.outputs),
                *_common(version, parameters),
                f"instance_group [ {{ count: {instances} kind: {DEVICES[device]} }} ]",
                *_warm_up(graph.inputs),
            ]
            _write(folder / name / "config.pbtxt", lines)
            names.append(name)
        if ensemble := _ensemble(contract, version):
            place = folder / contract.name / str(version)
            place.mkdir(parents=True)
            (place / ".keep").touch()  # object stores have no empty folders
            _write(folder / contract.name / "config.pbtxt", ensemble)
            names.append(contract.name)
        served = _kserve(contract.name, storage or f"pvc://models/{contract.name}")
        (folder / KSERVE).write_text(served, "utf-8")
    return names


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("\n".join([*lines, ""]), "utf-8")


def _tensors(inputs: Tensors, outputs: Tensors) -> Iterable[str]:
    yield "max_batch_size: 0"
    for side, tensors in (("input", inputs), ("output", outputs)):
        for name, tensor in tensors.items():
            yield (
                f"{side} [ {{ name: {json.dumps(name)} data_type: {_TYPES[tensor.dtype]} "
                f"dims: {_dims(tensor)} }} ]"
            )


def _dims(tensor: Tensor) -> str:
    return f"[ {', '.join(map(str, tensor.shape))} ]"


def _common(version: int, parameters: Mapping[str, str]) -> Iterable[str]:
    yield f"version_policy {{ specific {{ versions: [ {version} ] }} }}"
    yield "response_cache { enable: false }"
    for key, value in parameters.items():
        text = f"string_value: {json.dumps(value)}"
        yield f"parameters {{ key: {json.dumps(key)} value {{ {text} }} }}"


def _warm_up(inputs: Tensors) -> Iterable[str]:
    """Yield a warm-up request, since the first runs of a model are slow."""
    yield "model_warmup [ {"
    yield '  name: "zeros" batch_size: 1 count: 3'
    for name, tensor in inputs.items():
        yield (
            f"  inputs {{ key: {json.dumps(name)} value {{ data_type: {_TYPES[tensor.dtype]} "
            f"dims: {_dims(tensor)} zero_data: true }} }}"
        )
    yield "} ]"


def _ensemble(contract: Any, version: int) -> Sequence[str]:
    """Return the configuration of an ensemble of all graphs; empty if the bundle needs none."""
    if len(contract.graphs) < 2 or contract.observing_graph != contract.policy_graph:
        return ()
    policy, encoders = contract.graphs[contract.policy_graph], contract.cameras
    inputs, steps = dict[str, Tensor](), list[str]()
    fed = {camera.tensor: name for name, camera in encoders.items() if camera.encoder}
    for name, camera in encoders.items():
        if camera.encoder is None:
            continue
        graph = contract.graphs[camera.encoder]
        ((image, tensor),), (features,) = graph.inputs.items(), graph.outputs
        inputs[f"{name}_image"] = tensor
        steps += _step(
            served_name(contract, f"graphs.{camera.encoder}"),
            {image: f"{name}_image"},
            {features: f"{name}_features"},
        )
    inputs |= {name: tensor for name, tensor in policy.inputs.items() if name not in fed}
    steps += _step(
        served_name(contract, f"graphs.{contract.policy_graph}"),
        {name: f"{fed[name]}_features" if name in fed else name for name in policy.inputs},
        {name: name for name in policy.outputs},
    )
    parameters = {"policy": contract.name, "policy_version": contract.version}
    return [
        f"name: {json.dumps(contract.name)}",
        'platform: "ensemble"',
        *_tensors(inputs, policy.outputs),
        *_common(version, parameters),
        "ensemble_scheduling {",
        *steps,
        "}",
    ]


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> list[str]:
    maps = [
        f"    {side} {{ key: {json.dumps(key)} value: {json.dumps(value)} }}"
        for side, entries in (("input_map", inputs), ("output_map", outputs))
        for key, value in entries.items()
    ]
    return [f"  step [ {{ model_name: {json.dumps(model)} model_version: -1", *maps, "  } ]"]


def _kserve(name: str, storage: str) -> str:
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name.replace("_", "-")},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "protocolVersion": "v2",
                    "runtime": "kserve-tritonserver",
                    "storageUri": storage,
                    "ports": [{"name": "h2c", "containerPort": 9000, "protocol": "TCP"}],
                }
            }
        },
    }
    text: str = yaml.safe_dump(service, sort_keys=False)
    return text
