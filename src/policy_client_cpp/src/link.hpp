// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "byte_stream.hpp"
#include "protocol.hpp"
#include "shared_memory.hpp"

namespace policy_client {

/// The connection to the service at a Unix socket, which can be lost and opened again.
///
/// Frames go over the stream or, after the greeting, through shared memory. Opening and closing,
/// which the service can delay, are separate from the steps of a tick.
class Link {
 public:
  enum class State { down, greeting, ready, refused };

  /// @throws std::invalid_argument like make_hello() and ByteStream.
  Link(const std::string& path, const Options& options, bool shared_memory);

  // For the connecting thread.

  /// Connects and greets; the link is then ready, refused or down. Takes at most
  /// Options::answer_limit, and stops early if `ending` is set and `wake` rung.
  void connect(Bell& wake, const std::atomic<bool>& ending) noexcept;
  /// Releases all descriptors and the shared memory.
  void close() noexcept;

  // For the control thread, while ready. None of these blocks or continues beyond the deadline.

  void keep_to(Clock::time_point deadline) noexcept;
  /// Sends an observation; call it only if no other one is unanswered.
  void send(const Header& header, const float* values) noexcept;

  /// Returns true with the next frame that has a valid header; the frame is valid until the next
  /// call.
  bool receive(Frame& frame) noexcept;

  /// Waits until something can be received or sent; may return early.
  void wait(Clock::time_point until, Clock::time_point spin_until) noexcept;

  /// Stores the text of an ERROR as the message.
  void keep_error(const Frame& frame) noexcept;
  /// Marks the connection as failed for the reason in message(); it must still be closed. The pause
  /// before the next attempt grows each time until an answer arrives.
  void drop() noexcept;
  /// Records that an answer arrived, so the service works.
  void answered() noexcept { pause_ = {}; }

  // For the thread that owns the link.

  /// Clears a refusal and the pause.
  void retry() noexcept;
  /// Pause before the next attempt to connect.
  std::chrono::milliseconds pause() const noexcept { return pause_; }
  State state() const noexcept { return state_; }
  Message& message() noexcept { return message_; }
  /// Payload of the latest WELCOME.
  std::vector<std::byte>& welcome() noexcept { return welcome_; }

 private:
  void open() noexcept;
  void judge_greeting(const Frame& frame) noexcept;
  void refuse() noexcept;
  void flush() noexcept;
  bool receive_from_memory(Frame& frame) noexcept;
  bool receive_from_stream(Frame& frame) noexcept;
  void skip_wakes() noexcept;
  bool is_sound(const Header& header) noexcept;

  const Options options_;
  const bool shared_memory_;
  std::vector<std::byte> hello_;
  ByteStream stream_;
  SharedMemory memory_;
  State state_ = State::down;
  Clock::time_point deadline_{};
  std::chrono::milliseconds pause_{0};

  std::vector<std::byte> out_;  ///< Buffer for the largest frame; [out_sent_, out_size_) is unsent.
  std::size_t out_sent_ = 0;
  std::size_t out_size_ = 0;
  std::vector<std::byte> in_;  ///< Buffer for the largest frame; [0, in_size_) was received.
  std::size_t in_size_ = 0;
  std::size_t in_taken_ = 0;   ///< Size of the last frame returned from it.
  bool look_at_stream_ = true;  ///< With shared memory, the stream is read only after a poll.
  std::vector<std::byte> shared_answer_;  ///< Copy of the answer in shared memory.
  std::vector<std::byte> welcome_;
  Message message_;
};

}  // namespace policy_client
