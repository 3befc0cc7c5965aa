# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 domains of tests: none that something else uses, be it what a killed run left."""

from __future__ import annotations

import itertools

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from policy_inference.testing import domains

pytestmark = pytest.mark.ros


def test_a_domain_with_a_node_is_given_to_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context()
    with domains.claimed_domain_id() as busy:
        rclpy.init(context=context, domain_id=busy)
        node = Node("left_behind", context=context)
    monkeypatch.setattr(domains, "DOMAIN_IDS", itertools.chain([busy], domains.DOMAIN_IDS))

    with domains.claimed_domain_id() as claimed:
        assert claimed != busy

    node.destroy_node()
    rclpy.shutdown(context=context)
