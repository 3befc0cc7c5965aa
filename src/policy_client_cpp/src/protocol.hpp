// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// Frames of the service as defined in docs/service_protocol.md. Little-endian machines only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "policy_client/policy_source.hpp"

namespace policy_client {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "frames are sent with their layout in memory");

enum class FrameType : std::uint8_t { hello = 1, welcome, observation, action, error };

enum class ErrorCode : std::uint32_t {
  bad_frame = 1,
  other_version,
  other_policy,
  not_offered = 5,
  full,
  too_late,
  not_in_turn,
  observation_not_finite,
  action_not_finite,
  inference_failed,
  ending,
};

constexpr std::uint32_t frame_magic = 0x464E4950;
constexpr std::uint8_t protocol_version = 1;
constexpr std::uint16_t flag_reset = 1;

struct Header {
  std::uint32_t magic = frame_magic;
  std::uint8_t version = protocol_version;
  FrameType type = FrameType::hello;
  std::uint16_t flags = 0;
  std::uint32_t length = 0;
  std::uint32_t rows = 0;  ///< In an ERROR, its code.
  std::uint64_t sequence = 0;
  std::uint64_t stamp_ns = 0;
  std::uint64_t answered_ns = 0;
};
static_assert(sizeof(Header) == 40, "as on the wire");

/// Maximum payload of a greeting or an error that is accepted.
constexpr std::size_t most_text_bytes = 65536;

/// A frame in the buffer of the object that returned it, valid until the next call to that object.
struct Frame {
  Header header;
  const std::byte* payload = nullptr;
};

/// The numbers in a WELCOME; its texts stay in the payload until they are needed.
struct Welcome {
  std::array<std::uint8_t, 32> sha256{};
  std::uint32_t obs_dim = 0;
  std::uint32_t act_dim = 0;
  std::uint32_t rows = 0;
  std::uint32_t shared_bytes = 0;
  double rate_hz = 0.0;
};
constexpr std::size_t welcome_fixed_bytes = 56;

bool is_final(ErrorCode code) noexcept;           ///< True if trying again would not help.
bool closes_connection(ErrorCode code) noexcept;  ///< True if the service disconnects after it.
const char* to_string(ErrorCode code) noexcept;

/// The HELLO of a client with these options, including the header.
/// @throws std::invalid_argument for an invalid hash.
std::vector<std::byte> make_hello(const Options& options, bool shared_memory);

/// Reads a WELCOME's numbers; returns false if the payload is too short for them or for its texts.
bool read_welcome(const std::byte* payload, std::size_t length, Welcome& welcome) noexcept;

/// Reads all of a WELCOME that read_welcome() has accepted.
PolicyInfo read_policy_info(const std::byte* payload, std::size_t length);

}  // namespace policy_client
