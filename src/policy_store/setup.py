# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install policy_store; run by colcon."""

from setuptools import find_packages, setup

PACKAGE = "policy_store"
SHARE = f"share/{PACKAGE}"


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Versions of policy bundles on a robot: install, verify, activate, roll back.",
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
        "cryptography",
        "numpy",
        "policy_core",
        "PyYAML",
        "urllib3>=2.3",
    ],
    # With `test`, `colcon test` runs pytest; without it, unittest, which finds no tests.
    # `completion`: needed for shell completion. rich, which shows the tables of other packages'
    # verbs, is a dependency of those.
    extras_require={"completion": ["argcomplete"], "test": ["pytest"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/environment", ["environment/path.dsv", "environment/path.sh"]),
    ],
    entry_points={
        "console_scripts": ["policy_store = policy_store.commands.main:main"],
        "policy_store.commands": ["policy_store = policy_store.commands.main"],
        "ros2cli.command": ["policy = policy_store.ros2_policy:PolicyCommand"],
    },
)
