# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Registry access: addresses, credentials, and errors."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path

from policy_core.errors import PolicyError
from policy_core.safe_files import read_at_most

USER_VARIABLE = "POLICY_INFERENCE_REGISTRY_USER"
PASSWORD_VARIABLE = "POLICY_INFERENCE_REGISTRY_PASSWORD"
CONFIG_VARIABLE = "DOCKER_CONFIG"
"""Names of environment variables: user, password, and the folder of Docker's `config.json`."""
_LARGEST_CONFIG_BYTES = 1 << 20


class RegistryError(PolicyError):
    """A registry's response that cannot be used."""


class UnavailableError(RegistryError):
    """A missing or incomplete response from a registry; a later attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """Options for accessing a registry.

    Attributes:
        ca: PEM file with certificate authorities, in addition to the system's.
        insecure_http: True to allow plain HTTP to other machines.
        timeout_s: Maximum time to wait for a connection, and for each read and write, s.
        backoff_s: Wait before the second attempt, s; doubled before each later attempt.
    """

    ca: Path | None = None
    insecure_http: bool = False
    timeout_s: float = 30.0
    backoff_s: float = 0.5


def credentials(host: str) -> tuple[str, str] | None:
    """Return the user and password for a registry, or None if neither source has them.

    The sources are the environment variables and Docker's configuration.
    """
    user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if user is not None and password is not None:
        return user, password
    folder = os.environ.get(CONFIG_VARIABLE)
    file = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        document = json.loads(read_at_most(file, _LARGEST_CONFIG_BYTES))
        entry = document.get("auths", {}).get(host, {})
        text = base64.b64decode(entry.get("auth", ""), validate=True).decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PolicyError(
            f"{file}: expected a file that can be read, found: {error.strerror}"
        ) from error
    except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError) as error:
        raise PolicyError(
            f"{file}: expected Docker's configuration with `auths`, found invalid content; "
            f"run `docker login {host}` to write it"
        ) from error
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
