# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The files for systemd and AppArmor, checked by the tools of both where these are installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
UNIT = PACKAGE / "systemd" / "policy_inference@.service"
ANALYZE = "systemd-analyze"


def has(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} here")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return an instance of the unit, with all drop-ins and each of their lines."""
    drop_ins = tmp_path / "policy_inference@lite3.service.d"
    drop_ins.mkdir()
    shutil.copy(PACKAGE / "systemd" / "10-accelerator.conf", drop_ins)
    for name in ("20-secrets.conf", "30-network.conf"):
        text = (PACKAGE / "systemd" / name).read_text()
        (drop_ins / name).write_text(re.sub(r"^#(\w+=)", r"\1", text, flags=re.MULTILINE))
    return Path(shutil.copy(UNIT, tmp_path / "policy_inference@lite3.service"))


def output_of(*command: object) -> str:
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        text=True,
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return f"{done.stdout}status {done.returncode}"


@has(ANALYZE)
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    assert output_of(ANALYZE, "verify", unit) == "status 0"


@has("apparmor_parser")
def test_apparmor_compiles_the_profile() -> None:
    found = output_of(
        "apparmor_parser",
        "--skip-kernel-load",
        "--skip-cache",
        PACKAGE / "apparmor" / "policy_inference",
    )
    assert found.endswith("status 0")
    assert "Warning" not in found


def unit_settings(file: Path) -> dict[str, str]:
    """Return the settings of a unit, the last of each name."""
    return dict(
        line.split("=", 1)
        for line in file.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )


def test_clients_reach_the_socket_and_no_file_of_the_service() -> None:
    found = unit_settings(UNIT)
    assert found["Group"] == found["User"] == "policy_inference"
    assert found["SupplementaryGroups"] == "policy_clients"
    assert found["ExecStart"].split()[-4:-1] == ["serve", "--socket-group", "policy_clients"]
    # Passed through, neither listed nor locked; nothing else is for a group or for others.
    assert found["RuntimeDirectoryMode"] == "0711"
    assert (found["UMask"], found["CacheDirectoryMode"]) == ("0077", "0700")


def test_secrets_come_from_a_folder_that_the_profile_denies() -> None:
    profile = (PACKAGE / "apparmor" / "policy_inference").read_text()
    lines = re.findall(
        r"LoadCredential=(\S+):(\S+)", (PACKAGE / "systemd" / "20-secrets.conf").read_text()
    )
    assert {name for name, _ in lines} == {"token", "tls.key"}
    assert all(file == f"/etc/policy_inference/secrets/{name}" for name, file in lines)
    rules = {tuple(line.split()) for line in profile.splitlines()}
    assert ("deny", "/etc/policy_inference/secrets/**", "r,") in rules
    assert ("/run/credentials/policy_inference@*.service/*", "r,") in rules
