// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <stdexcept>

#include "support.hpp"

using namespace policy_client;

namespace {

/// What making a source of these options is refused with.
std::string refusal(const Options& options) {
  try {
    make_policy_source(options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was refused";
}

bool says(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE_BEGIN("options");

TEST_CASE("a source of an unknown kind is refused with the known ones") {
  CHECK(says(refusal(options_for("ftp:somewhere")), "unix, shm"));
  CHECK(says(refusal(options_for("")), "unix, shm"));
}

TEST_CASE("what is not in this build says what it needs") {
  for (const std::string kind : {"onnx", "rknn"}) {
    if (std::string(available_sources()).find(kind) != std::string::npos) continue;
    CHECK(says(refusal(options_for(kind + ":/tmp/model")), "build it where CMake finds"));
  }
}

TEST_CASE("sizes of nothing are refused by name") {
  Options options = options_for("unix:/tmp/none");
  options.obs_dim = 0;
  CHECK(says(refusal(options), "obs_dim"));
  options = options_for("unix:/tmp/none");
  options.rows = 0;
  CHECK(says(refusal(options), "rows"));
  options = options_for("unix:/tmp/none");
  options.timeout = std::chrono::microseconds(0);
  CHECK(says(refusal(options), "timeout"));
}

TEST_CASE("observations that no frame can hold are refused") {
  Options options = options_for("unix:/tmp/none");
  options.rows = 1U << 20;
  options.obs_dim = 1U << 20;
  CHECK(says(refusal(options), "rows"));
}

TEST_CASE("a path that no socket can have is refused") {
  CHECK(says(refusal(options_for("unix:" + std::string(200, 'x'))), "107 bytes"));
  CHECK(says(refusal(options_for("unix:")), "107 bytes"));
}

TEST_CASE("a hash that is none is refused") {
  Options options = options_for("unix:/tmp/none");
  options.policy_sha256 = "abc";
  CHECK(says(refusal(options), "64 digits"));
  options.policy_sha256 = std::string(64, 'g');
  CHECK(says(refusal(options), "hexadecimal"));
}

TEST_CASE("normalisation that the service does itself is refused") {
  Options options = options_for("unix:/tmp/none");
  options.mean = {0, 0, 0};
  CHECK(says(refusal(options), "the service normalizes"));
}

TEST_SUITE_END();
