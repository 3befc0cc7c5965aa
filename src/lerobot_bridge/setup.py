# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install lerobot_bridge; run by colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "lerobot_bridge"
SHARE = f"share/{PACKAGE}"


def files(pattern: str) -> list[str]:
    """Return the files that match `pattern`, relative to this folder."""
    return sorted(str(path) for path in Path().glob(pattern) if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Connect ROS 2 robots to LeRobot; convert recordings to LeRobot datasets and back.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed"], PACKAGE: ["mappings/*"]},
    zip_safe=False,
    install_requires=[
        "setuptools",
        "model_tools",
        "policy_core",
        "policy_inference",
        "policy_store",
        "numpy",
        "PyYAML",
        "rosbags",
    ],
    # lerobot: only for writing datasets; heavy, and it restricts other packages' versions.
    extras_require={"lerobot": ["lerobot==0.4.4"], "test": ["pytest"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", files("environment/*")),
    ],
    entry_points={
        "console_scripts": [
            "episode_operator = lerobot_bridge.nodes.episode_operator:main",
            "episode_recorder = lerobot_bridge.nodes.start:episode_recorder",
            "lerobot_bridge = lerobot_bridge.cli:main",
        ]
    },
)
