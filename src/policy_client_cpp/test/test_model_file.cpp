// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <stdexcept>

#include "model_file.hpp"
#include "support.hpp"

using namespace policy_client;

namespace {

/// What is wrong with a model, less the remedy; empty: nothing.
std::string said_of(const std::string& model) {
  try {
    require_whole("model.onnx", model);
  } catch (const std::runtime_error& error) {
    const std::string text = error.what();
    return text.substr(0, text.find(';'));
  }
  return "";
}

std::string reading(const std::string& file) {
  try {
    return "read: " + read_model(file);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

std::string number(std::size_t value) {
  std::string written;
  for (; value > 0x7F; value >>= 7) written += static_cast<char>((value & 0x7F) | 0x80);
  return written + static_cast<char>(value);
}

}  // namespace

TEST_SUITE_BEGIN("model_file");

TEST_CASE("of each model the same is said as in Python, however protobuf writes it" *
          doctest::skip(std::string(SERVICE_PYTHON).empty())) {
  TemporaryFolder folder;
  Child made({SERVICE_PYTHON, TEST_FOLDER "/../../policy_core/test/onnx_corpus.py",
              folder.file("corpus")});
  REQUIRE(made.wait() == 0);
  std::ifstream corpus(folder.file("corpus"), std::ios::binary);
  std::size_t whole = 0, outside = 0, broken = 0;
  for (std::string expected, length; std::getline(corpus, expected);) {
    REQUIRE(std::getline(corpus, length));
    std::string model(std::stoul(length), '\0');
    REQUIRE(corpus.read(model.data(), static_cast<std::streamsize>(model.size())));
    CHECK(said_of(model) == expected);
    ++(expected.empty() ? whole : expected.find("no hash covers") < expected.size() ? outside : broken);
  }
  CHECK(whole > 100);
  CHECK(outside > 500);
  CHECK(broken > 100);
}

TEST_CASE("a model takes bounded time, whatever it holds") {
  std::string many;
  for (int i = 0; i <= 2'000'000; ++i) many += "\x08\x01";
  CHECK(said_of(many) == "model.onnx: expected an ONNX model, found more than 2000000 fields besides weights");
  std::string deep;
  for (int i = 0; i < 200; ++i) {
    for (const char field : {'\x32', '\x2A', '\x0A'}) deep = field + number(deep.size()) + deep;
  }
  deep = '\x3A' + number(deep.size()) + deep;
  CHECK(said_of(deep) == "model.onnx: expected an ONNX model, found more than 100 levels of nesting");
}

TEST_CASE("only a regular file is read, and no pipe is waited for") {
  TemporaryFolder folder;
  std::ofstream(folder.file("model")) << "content";
  CHECK(reading(folder.file("model")) == "read: content");
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  for (const std::string& file : {folder.file("pipe"), std::string("/dev/zero"), folder.file("")}) {
    CAPTURE(file);
    CHECK(reading(file) == file + ": expected a model, found: not a regular file");
  }
  const std::string missing = folder.file("missing");
  CHECK(reading(missing) == missing + ": expected a model, found: No such file or directory");
}

TEST_SUITE_END();
