# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install policy_core; run by colcon."""

from setuptools import find_packages, setup

PACKAGE = "policy_core"
SHARE = f"share/{PACKAGE}"


setup(
    name=PACKAGE,
    version="0.1.0",
    description="The kernel of policy_inference: contract, observation, guard, control.",
    author="The policy_inference authors",
    author_email="policy-inference@users.noreply.github.com",
    maintainer="The policy_inference authors",
    maintainer_email="policy-inference@users.noreply.github.com",
    url="https://github.com/policy-inference/policy_inference",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed", "*.json"]},
    zip_safe=False,
    install_requires=["setuptools", "cryptography", "numpy", "opencv-python-headless", "PyYAML"],
    # With this extra, `colcon test` runs pytest; without it, unittest, which finds nothing.
    extras_require={"test": ["pytest"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
    ],
)
