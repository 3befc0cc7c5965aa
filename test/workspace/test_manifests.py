# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Manifests: each package declares what it imports, and says the same of itself in both files."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGES = sorted(file.parent.name for file in SOURCE.glob("*/setup.py"))
TESTING = "testing"
"""Part of a package that only tests import, which may need what they need."""
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "argcomplete": "python3-argcomplete",
    "cryptography": "python3-cryptography",
    "cv2": "python3-opencv",
    "google": "python3-protobuf",
    "grpc": "python3-grpcio",
    "hypothesis": "python3-hypothesis",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "policy_core_native": "policy_core_cpp",
    "prometheus_client": "python3-prometheus-client",
    "psutil": "python3-psutil",
    "pytest": "python3-pytest",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
}
WITHOUT_ROSDEP_KEY = {
    "backports": "backports.zstd",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "ruamel": "ruamel.yaml",
    "urllib3": "urllib3",  # of 2.3 or newer; Ubuntu 24.04 has 2.0
}
_STANDARD = {*sys.stdlib_module_names, "compression"}
"""Modules of Python, of later versions too."""
RUNTIMES = "backends"
"""Part of a package whose functions import runtimes, which are installed where devices are."""


def imported_packages(package: str, folder: str) -> set[str]:
    """Return what the files below a folder import; those for tests are below `testing` alone."""
    found = (SOURCE / package).glob(f"{folder}/**/*.py")
    files = [file for file in found if folder.endswith(TESTING) or TESTING not in file.parts]
    nodes = [node for file in files for node in _statements(file)]
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in modules} - _STANDARD - {package}


def _statements(file: Path) -> Iterator[ast.AST]:
    """Yield the statements of a module; of a back end those that run when it is imported."""
    tree = ast.parse(file.read_text())
    yield from tree.body if RUNTIMES in file.parts else ast.walk(tree)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_declared_in_package_xml(package: str) -> None:
    text = (SOURCE / package / "package.xml").read_text()
    declared, for_tests = (
        {tag.text for tag in ElementTree.fromstring(text).iterfind(kind)}
        for kind in ("exec_depend", "test_depend")
    )
    apart = re.findall(r"Without a rosdep key, .*: (.*)\. -->", text)
    without_key = {name for names in apart for name in names.split(", ")}
    folders = {package: declared, "launch": declared, f"{package}/{TESTING}": declared | for_tests}
    for folder, known in folders.items():
        keys = {ROSDEP_KEYS.get(name, name) for name in imported_packages(package, folder)}
        assert {WITHOUT_ROSDEP_KEY.get(key, key) for key in keys} <= known | without_key


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_setup_py_requires_the_packages_of_this_suite_that_are_imported(package: str) -> None:
    tree = ast.parse((SOURCE / package / "setup.py").read_text())
    required = {
        ast.literal_eval(item)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "install_requires"
        for item in getattr(node.value, "elts", [])
    }
    assert imported_packages(package, package) & set(PACKAGES) <= required


@pytest.mark.parametrize(
    "manifest",
    [*SOURCE.glob("*/package.xml"), *SOURCE.parent.glob("interfaces/*/package.xml")],
    ids=lambda manifest: manifest.parent.name,
)
def test_every_package_has_the_licence_and_says_where_it_comes_from(manifest: Path) -> None:
    licence = (SOURCE.parent / "LICENSE").read_bytes()
    assert manifest.with_name("LICENSE").read_bytes() == licence
    root = ElementTree.parse(manifest).getroot()
    assert root.findtext("url")
    assert root.findtext("author")


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("field", ["name", "version", "license", "maintainer", "author", "url"])
def test_package_xml_and_setup_py_agree(package: str, field: str) -> None:
    value = ElementTree.parse(SOURCE / package / "package.xml").getroot().findtext(field)
    setup = (SOURCE / package / "setup.py").read_text()
    said = re.findall(rf'^    {field}="(.*)",$', setup, flags=re.MULTILINE)
    assert said == [value] or (field == "name" and f'PACKAGE = "{value}"' in setup)


ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ("policy_inference", "robot_sim")


@pytest.mark.ros
@pytest.mark.parametrize("package", INSTALLED)
def test_every_command_of_a_package_is_on_the_path(package: str) -> None:
    commands = distribution(package).entry_points.select(group="console_scripts")
    found = {command.name: shutil.which(command.name) for command in commands}
    folder = ROOT / "install" / package / "lib" / package
    assert found
    assert found == {name: str(folder / name) for name in found}


@pytest.mark.ros
@pytest.mark.parametrize("folder", ["launch", "config"])
def test_launch_files_and_configurations_are_installed(folder: str) -> None:
    share = ROOT / "install/policy_inference/share/policy_inference"
    patterns = ("launch/*.launch.py", "config/nodes/*.yaml", "config/bundles/**/*")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    committed = {path.relative_to(ROOT) for path in found if path.is_file()}
    installed = {path.relative_to(share) for path in share.rglob("*") if path.is_file()}
    expected = {path for path in committed if path.parts[0] == folder}
    assert expected
    assert expected <= installed
