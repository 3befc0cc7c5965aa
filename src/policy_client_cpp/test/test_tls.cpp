// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "tls_peer.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

const std::vector<float> observation{1.0F, 2.0F, 4.0F};

Options options_of(const TlsPeer& peer) {
  Options options = options_for(peer.source());
  options.tls_ca = peer.certificate();
  return options;
}

}  // namespace

TEST_SUITE_BEGIN("tls");

TEST_CASE("records without data, however many, hold up no tick") {
  const Limit limit(60);
  TlsPeer peer(TlsPeer::Way::key_updates);
  Options options = options_of(peer);
  options.timeout = 2ms;
  const auto source = make_policy_source(options);
  REQUIRE(source->connect(20s) == Status::ok);
  std::vector<float> action(2);
  while (!peer.floods()) source->tick(observation.data(), 1, action.data());
  int ticks = 0;
  while (source->tick(observation.data(), 1, action.data()).status != Status::ok) ++ticks;
  // One that reads on reads nearly all there is.
  CHECK(ticks > 10);
  CHECK(source->tick(observation.data(), 2, action.data()).status == Status::ok);
}

TEST_CASE("a tick makes no second handshake") {
  const Limit limit(60);
  TlsPeer peer(TlsPeer::Way::renegotiates);
  Options options = options_of(peer);
  options.retry_first = 1h;  // The peer hangs up, and serves no second client.
  const auto source = make_policy_source(options);
  REQUIRE(source->connect(20s) == Status::ok);
  std::vector<float> action(2);
  for (int i = 0; i < 2; ++i) source->tick(observation.data(), i, action.data());
  CHECK(peer.handshakes() == 1);
}

TEST_SUITE_END();
