// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "protocol.hpp"
#include "support.hpp"

using namespace policy_client;

namespace {

/// The WELCOME of a policy "walk", version "2", with joints "hip" and "knee".
std::vector<std::byte> welcome() {
  std::vector<std::byte> payload(welcome_fixed_bytes);
  const auto put = [&payload](std::size_t at, auto value) {
    std::memcpy(payload.data() + at, &value, sizeof(value));
  };
  payload[0] = std::byte{0xAB};
  put(32, std::uint32_t{45});
  put(36, std::uint32_t{12});
  put(40, std::uint32_t{4});
  put(44, std::uint32_t{4096});
  put(48, 50.0);
  const auto add = [&payload](const std::string& text) {
    payload.push_back(std::byte(text.size()));
    payload.push_back(std::byte{0});
    for (const char c : text) payload.push_back(std::byte(c));
  };
  add("walk");
  add("2");
  payload.push_back(std::byte{2});
  payload.push_back(std::byte{0});
  add("hip");
  add("knee");
  return payload;
}

template <typename T>
T at(const std::vector<std::byte>& bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

TEST_SUITE_BEGIN("protocol");

TEST_CASE("a HELLO lies in memory as the protocol's table states it") {
  Options options = options_for("unix:/tmp/none");
  options.policy_sha256 = "0aFF" + std::string(60, '1');
  options.rows = 4;
  options.scaling = Scaling::normalised;
  options.answer = AnswerKind::target;
  const auto frame = make_hello(options, true);
  REQUIRE(frame.size() == 40 + 52);
  CHECK(at<std::uint32_t>(frame, 0) == 0x464E4950);
  CHECK(std::memcmp(frame.data(), "PINF", 4) == 0);
  CHECK(at<std::uint8_t>(frame, 4) == 1);
  CHECK(at<std::uint8_t>(frame, 5) == 1);
  CHECK(at<std::uint32_t>(frame, 8) == 52);
  CHECK(at<std::uint8_t>(frame, 40) == 0x0A);
  CHECK(at<std::uint8_t>(frame, 41) == 0xFF);
  CHECK(at<std::uint8_t>(frame, 42) == 0x11);
  CHECK(at<std::uint32_t>(frame, 40 + 32) == 3);
  CHECK(at<std::uint32_t>(frame, 40 + 36) == 2);
  CHECK(at<std::uint32_t>(frame, 40 + 40) == 4);
  CHECK(at<std::uint16_t>(frame, 40 + 44) == 2);
  CHECK(at<std::uint16_t>(frame, 40 + 46) == 1);
  CHECK(at<std::uint16_t>(frame, 40 + 48) == 1);
  CHECK(at<std::uint16_t>(frame, 40 + 50) == 0);
}

TEST_CASE("a WELCOME is read") {
  const auto payload = welcome();
  Welcome numbers;
  REQUIRE(read_welcome(payload.data(), payload.size(), numbers));
  CHECK(numbers.rows == 4);
  CHECK(numbers.shared_bytes == 4096);
  const PolicyInfo info = read_policy_info(payload.data(), payload.size());
  CHECK(info.sha256 == "ab" + std::string(62, '0'));
  CHECK(info.obs_dim == 45);
  CHECK(info.act_dim == 12);
  CHECK(info.rate_hz == 50.0);
  CHECK(info.name == "walk");
  CHECK(info.version == "2");
  CHECK(info.joints == std::vector<std::string>{"hip", "knee"});
}

TEST_CASE("a WELCOME that ends early is refused wherever it ends") {
  const auto payload = welcome();
  for (std::size_t length = 0; length < payload.size(); ++length) {
    // Of that size on the heap, where the address sanitizer sees each byte read beyond it.
    const std::vector<std::byte> part(payload.begin(),
                                      payload.begin() + static_cast<std::ptrdiff_t>(length));
    Welcome numbers;
    CHECK_FALSE(read_welcome(part.data(), part.size(), numbers));
  }
}

TEST_CASE("a WELCOME with more behind it is refused") {
  auto payload = welcome();
  payload.push_back(std::byte{0});
  Welcome numbers;
  CHECK_FALSE(read_welcome(payload.data(), payload.size(), numbers));
}

TEST_CASE("no WELCOME of random bytes is read beyond its end") {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> byte(0, 255);
  for (int round = 0; round < 2000; ++round) {
    auto payload = welcome();
    for (int changes = 0; changes < 4; ++changes) {
      payload[random() % payload.size()] = std::byte(byte(random));
    }
    Welcome numbers;
    if (read_welcome(payload.data(), payload.size(), numbers)) {
      CHECK(read_policy_info(payload.data(), payload.size()).joints.size() <= payload.size());
    }
  }
}

TEST_SUITE_END();
