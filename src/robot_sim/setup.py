# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install robot_sim; run by colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "robot_sim"
SHARE = f"share/{PACKAGE}"


def files(pattern: str) -> list[str]:
    """Return the files that match `pattern`, relative to this folder."""
    return sorted(str(path) for path in Path().glob(pattern) if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Simulated legged robots and an arm with the topics of real ones.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed"], PACKAGE: ["robots/*/figures.yaml", "robots/*/LICENSE.*"]},
    zip_safe=False,
    install_requires=[
        "setuptools",
        "lite3_driver",
        "policy_core",
        "policy_inference",
        "policy_store",
        "glfw",
        "imageio-ffmpeg",
        "mujoco",
        "numpy",
        "pillow",
        "pyyaml",
    ],
    # With this extra, `colcon test` runs pytest; without it, unittest, which finds no tests.
    extras_require={"test": ["pytest"], "unitree": ["cyclonedds~=11.0"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", files("environment/*")),
    ],
    entry_points={
        "console_scripts": [
            "arm_leader = robot_sim.nodes.start:arm_leader",
            "arm_sim_node = robot_sim.nodes.start:arm_sim_node",
            "fault_injector = robot_sim.nodes.start:fault_injector",
            "lite3_emulator = robot_sim.nodes.start:lite3_emulator",
            "robot_urdf = robot_sim.urdf:main",
            "sim_node = robot_sim.nodes.start:sim_node",
            "so101_emulator = robot_sim.nodes.start:so101_emulator",
            "unitree_emulator = robot_sim.nodes.start:unitree_emulator",
        ]
    },
)
