# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install lerobot_arm_driver; run by colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "lerobot_arm_driver"
SHARE = f"share/{PACKAGE}"


def files(pattern: str) -> list[str]:
    """Return the files that match `pattern`, relative to this folder."""
    return sorted(str(path) for path in Path().glob(pattern) if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="The arms of LeRobot (SO-100, SO-101, Koch; one or two) as ROS 2 robots.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed"]},
    zip_safe=False,
    install_requires=[
        "setuptools",
        "policy_core",
        "policy_inference",
        "policy_store",
        "robot_driver",
        "numpy",
    ],
    # With this extra, `colcon test` runs pytest; without it, unittest, which finds no tests.
    extras_require={"test": ["pytest"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", files("environment/*")),
    ],
    entry_points={
        "console_scripts": [
            "lerobot_arm_driver = lerobot_arm_driver.nodes.start:lerobot_arm_driver"
        ]
    },
)
