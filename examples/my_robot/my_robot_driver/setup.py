# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Installs my_robot_driver; colcon runs it."""

from setuptools import setup

PACKAGE = "my_robot_driver"
SHARE = f"share/{PACKAGE}"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=[PACKAGE],
    zip_safe=False,
    install_requires=["setuptools", "numpy"],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", ["launch/my_robot.launch.py"]),
        (f"{SHARE}/config", ["config/my_robot.yaml"]),
        (f"{SHARE}/environment", ["environment/path.dsv", "environment/path.sh"]),
    ],
    entry_points={
        "console_scripts": [
            "my_robot_driver = my_robot_driver.driver:main",
            "my_robot_simulator = my_robot_driver.simulator:main",
        ]
    },
)
