# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install model_tools; run by colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "model_tools"
SHARE = f"share/{PACKAGE}"


def files(pattern: str) -> list[str]:
    """Return the files that match `pattern`, relative to this folder."""
    return sorted(str(path) for path in Path().glob(pattern) if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="From a training run to a proven policy bundle: export, import, compile, compare.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed"], f"{PACKAGE}.make.act": ["robots/*.yaml"]},
    zip_safe=False,
    install_requires=[
        "setuptools",
        "policy_core",
        "policy_inference",
        "policy_store",
        "robot_sim",
        "av",
        "cryptography",
        "matplotlib",
        "mujoco",
        "numpy",
        "onnx",
        "onnxruntime",
        "onnxsim",
        "prometheus-client",
        "protobuf",
        "pyarrow",
        "PyYAML",
        "rich",
        "rosbags",
        "safetensors",
    ],
    # torch: only to read checkpoints; from 2.6 on without running code in them. ray: only for
    # `evaluate --ray`; from 2.52 on with tokens. smolvla: only to export that policy. test: with
    # it, `colcon test` runs pytest.
    extras_require={
        "torch": ["torch>=2.6"],
        "ray": ["ray>=2.52"],
        "smolvla": ["tokenizers"],
        "test": ["pytest"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", files("environment/*")),
    ],
    entry_points={
        "console_scripts": ["model_tools = model_tools.cli:main"],
        "policy_store.commands": ["model_tools = model_tools.cli"],
        "model_tools.compilers": [
            "bpu = model_tools.ship.compilers.bpu:BpuCompiler",
            "oip = model_tools.ship.compilers.oip:OipCompiler",
            "onnx = model_tools.ship.compilers.onnx:OnnxCompiler",
            "rknn = model_tools.ship.compilers.rknn:RknnCompiler",
            "tensorrt = model_tools.ship.compilers.tensorrt:TensorRtCompiler",
        ],
    },
)
