# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the nodes, besides the policy node, that must run to provide the policy's inputs."""

from __future__ import annotations

from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.load import load_bundle, trusted_keys

PERCEPTION_NODE, ESTIMATOR_NODE = "perception_node", "velocity_estimator_node"


def sensing_nodes(bundle: str, public_key: str = "") -> frozenset[str]:
    """Return the names of the nodes that a bundle's policies need for perception and estimation.

    Args:
        bundle: Bundle folder, or the name of an installed bundle.
        public_key: Same as the policy node's `public_key` parameter.

    Raises:
        PolicyError: The bundle cannot be used.
    """
    found = load_bundle(bundle, trusted_keys(public_key), kind=Bundle)
    contracts = [one.contract for one in list_policies(found)]
    needed = {
        PERCEPTION_NODE: any(contract.scans or contract.images for contract in contracts),
        ESTIMATOR_NODE: any(contract.estimation for contract in contracts),
    }
    return frozenset(name for name, is_needed in needed.items() if is_needed)
