// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "protocol.hpp"

#include <cstring>
#include <stdexcept>

namespace policy_client {
namespace {

/// Reads values from a payload in order; after a missing value, all further ones are missing, too.
class Reader {
 public:
  Reader(const std::byte* data, std::size_t length) : data_(data), left_(length) {}

  template <typename T>
  T number() noexcept {
    T value{};
    if (const std::byte* at = take(sizeof(T))) std::memcpy(&value, at, sizeof(T));
    return value;
  }

  /// A text's bytes and length; nullptr if incomplete.
  const std::byte* text(std::size_t& length) noexcept {
    length = number<std::uint16_t>();
    return take(length);
  }

  const std::byte* take(std::size_t bytes) noexcept {
    if (!whole_ || bytes > left_) {
      whole_ = false;
      return nullptr;
    }
    const std::byte* at = data_;
    data_ += bytes;
    left_ -= bytes;
    return at;
  }

  bool whole() const noexcept { return whole_; }
  bool done() const noexcept { return whole_ && left_ == 0; }

 private:
  const std::byte* data_;
  std::size_t left_;
  bool whole_ = true;
};

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& bytes) : bytes_(bytes) {}

  template <typename T>
  void number(T value) {
    raw(&value, sizeof(value));
  }

  void raw(const void* data, std::size_t length) {
    const auto* at = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), at, at + length);
  }

 private:
  std::vector<std::byte>& bytes_;
};

unsigned digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  throw std::invalid_argument("policy_sha256: expected hexadecimal digits, found '" +
                              std::string(1, c) + "'");
}

std::array<std::uint8_t, 32> hash_from_hex(const std::string& text) {
  std::array<std::uint8_t, 32> hash{};
  if (text.empty()) return hash;
  if (text.size() != 64) {
    throw std::invalid_argument("policy_sha256: expected 64 digits, found " +
                                std::to_string(text.size()));
  }
  for (std::size_t i = 0; i < hash.size(); ++i) {
    hash[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  }
  return hash;
}

std::string hash_to_hex(const std::array<std::uint8_t, 32>& hash) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned byte : hash) {
    text += digits[byte / 16];
    text += digits[byte % 16];
  }
  return text;
}

Welcome read_numbers(Reader& reader) noexcept {
  Welcome welcome;
  if (const std::byte* hash = reader.take(welcome.sha256.size())) {
    std::memcpy(welcome.sha256.data(), hash, welcome.sha256.size());
  }
  welcome.obs_dim = reader.number<std::uint32_t>();
  welcome.act_dim = reader.number<std::uint32_t>();
  welcome.rows = reader.number<std::uint32_t>();
  welcome.shared_bytes = reader.number<std::uint32_t>();
  welcome.rate_hz = reader.number<double>();
  return welcome;
}

std::string read_text(Reader& reader) {
  std::size_t length = 0;
  const std::byte* at = reader.text(length);
  return at ? std::string(reinterpret_cast<const char*>(at), length) : std::string();
}

}  // namespace

bool is_final(ErrorCode code) noexcept {
  return code == ErrorCode::bad_frame || code == ErrorCode::other_version ||
         code == ErrorCode::other_policy || code == ErrorCode::not_offered;
}

bool closes_connection(ErrorCode code) noexcept {
  return code != ErrorCode::observation_not_finite && code != ErrorCode::action_not_finite &&
         code != ErrorCode::inference_failed;
}

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::bad_frame: return "BAD_FRAME";
    case ErrorCode::other_version: return "OTHER_VERSION";
    case ErrorCode::other_policy: return "OTHER_POLICY";
    case ErrorCode::not_offered: return "NOT_OFFERED";
    case ErrorCode::full: return "FULL";
    case ErrorCode::too_late: return "TOO_LATE";
    case ErrorCode::not_in_turn: return "NOT_IN_TURN";
    case ErrorCode::observation_not_finite: return "OBSERVATION_NOT_FINITE";
    case ErrorCode::action_not_finite: return "ACTION_NOT_FINITE";
    case ErrorCode::inference_failed: return "INFERENCE_FAILED";
    case ErrorCode::ending: return "ENDING";
  }
  return "UNKNOWN";
}

std::vector<std::byte> make_hello(const Options& options, bool shared_memory) {
  const auto hash = hash_from_hex(options.policy_sha256);
  std::vector<std::byte> frame(sizeof(Header));
  Writer payload(frame);
  payload.raw(hash.data(), hash.size());
  payload.number(options.obs_dim);
  payload.number(options.act_dim);
  payload.number(options.rows);
  payload.number(options.scaling);
  payload.number(options.answer);
  payload.number(static_cast<std::uint16_t>(shared_memory ? 1 : 0));
  payload.number(std::uint16_t{0});  // reserved

  Header header;
  header.type = FrameType::hello;
  header.length = static_cast<std::uint32_t>(frame.size() - sizeof(Header));
  std::memcpy(frame.data(), &header, sizeof(header));
  return frame;
}

bool read_welcome(const std::byte* payload, std::size_t length, Welcome& welcome) noexcept {
  Reader reader(payload, length);
  welcome = read_numbers(reader);
  std::size_t text_bytes = 0;
  reader.text(text_bytes);
  reader.text(text_bytes);
  for (unsigned left = reader.number<std::uint16_t>(); left > 0 && reader.whole(); --left) {
    reader.text(text_bytes);
  }
  return reader.done();
}

PolicyInfo read_policy_info(const std::byte* payload, std::size_t length) {
  Reader reader(payload, length);
  const Welcome welcome = read_numbers(reader);
  PolicyInfo info;
  info.sha256 = hash_to_hex(welcome.sha256);
  info.obs_dim = welcome.obs_dim;
  info.act_dim = welcome.act_dim;
  info.rate_hz = welcome.rate_hz;
  info.name = read_text(reader);
  info.version = read_text(reader);
  for (unsigned left = reader.number<std::uint16_t>(); left > 0 && reader.whole(); --left) {
    info.joints.push_back(read_text(reader));
  }
  return info;
}

}  // namespace policy_client
