# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install policy_inference; run by colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "policy_inference"
SHARE = f"share/{PACKAGE}"
BUNDLES = Path("config/bundles")
BUNDLE_FOLDERS = sorted({path.parent for path in BUNDLES.rglob("*") if path.is_file()})


def files(pattern: str) -> list[str]:
    """Return the files that match `pattern`, relative to this folder."""
    return sorted(str(path) for path in Path().glob(pattern) if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Runs learned policies on robots: a policy bundle in, safe joint commands out.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed", "*.json", "*.xml"]},
    zip_safe=False,
    install_requires=[
        "setuptools",
        "cryptography",
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "policy_core",
        "policy_store",
        "prometheus-client",
        "psutil",
        "PyYAML",
        "rich",
        "rosbags",
    ],
    # `test`: makes `colcon test` run pytest instead of unittest, which finds no tests.
    # `testing`: what the test cases need that other packages' back ends inherit.
    # `remote`: what the back ends `oip` and `openpi` and `serve --open-inference` need.
    extras_require={
        "remote": ["grpcio", "msgpack>=1.0.5", "pillow", "protobuf>=4.22", "websockets>=15"],
        "test": ["pytest"],
        "testing": ["onnx", "pytest"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", files("environment/*")),
        (f"{SHARE}/launch", files("launch/*.launch.py")),
        (f"{SHARE}/systemd", files("systemd/*")),
        (f"{SHARE}/apparmor", files("apparmor/*")),
        (f"{SHARE}/security", files("security/*")),
        (f"{SHARE}/config/nodes", files("config/nodes/*.yaml")),
        *((f"{SHARE}/{folder}", files(f"{folder}/*")) for folder in BUNDLE_FOLDERS),
    ],
    entry_points={
        "console_scripts": [
            "act_policy_node = policy_inference.nodes.start:act_policy_node",
            "joint_policy_node = policy_inference.nodes.start:joint_policy_node",
            "policy_set_node = policy_inference.nodes.start:policy_set_node",
            "policy_inference = policy_inference.commands.main:main",
            "perception_node = policy_inference.nodes.start:perception_node",
            "robot_metrics = policy_inference.nodes.start:robot_metrics",
            "velocity_estimator_node = policy_inference.nodes.start:velocity_estimator_node",
            "usb_camera = policy_inference.nodes.start:usb_camera",
        ],
        "policy_store.commands": ["policy_inference = policy_inference.commands.main"],
        "policy_inference.backends": [
            "bpu = policy_inference.backends.bpu.hbm:BpuBackend",
            "oip = policy_inference.backends.remote.oip:OipBackend",
            "onnx = policy_inference.backends.onnx:OnnxBackend",
            "openpi = policy_inference.backends.remote.openpi:OpenpiBackend",
            "rknn = policy_inference.backends.rknn.backend:RknnBackend",
            "rknn_sim = policy_inference.backends.rknn_sim:RknnSimBackend",
            "tensorrt = policy_inference.backends.tensorrt.backend:TensorRtBackend",
        ],
    },
)
