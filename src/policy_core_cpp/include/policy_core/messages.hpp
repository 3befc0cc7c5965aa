// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Conversion of bytes to state, and of targets to bytes. Messages are plain CDR (OMG DDS-RTPS 2.5,
// clause 10), read in either byte order and written little-endian.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "policy_core/controller.hpp"
#include "policy_core/table.hpp"

namespace policy_core {

class Cdr;

/// Time at which messages are taken, ns; see `DueTick` of the Python nodes.
struct SampleTime {
  std::int64_t now_ns;      ///< of the tick, on the clock of ages
  std::int64_t ros_now_ns;  ///< on the clock of stamps
  bool repeated = false;    ///< simulated time stands still: a sample may be repeated
};

/// Result of processing a message.
enum class MessageVerdict : std::int64_t {
  kAccepted,
  kNotNew,   ///< by its stamp: `Input::refused_stamps`
  kRefused,  ///< the bytes are in `MessageReader::refused`
  kDoubted,  ///< the joint positions are implausible: `MessageReader::joint_problem`
};

/// Writes the messages of one input into a controller's state: all values of a message, or none.
///
/// Equivalent to `policy_inference.messages.readers` and the node's sampler: accepts the same
/// messages, and writes the same bits. All methods belong to the ticking thread; `take` allocates
/// nothing and throws nothing.
class MessageReader {
 public:
  /// Reads the plan of a reader; `problem` is for `Input::reject`.
  ///
  /// Throws PlanError if the plan is of an unknown kind, or of another controller.
  static std::unique_ptr<MessageReader> open(const Part& plan, Controller& controller,
                                             std::int64_t problem);
  virtual ~MessageReader() = default;

  /// Takes the newest message: `size` bytes, beginning with those that name the encoding.
  MessageVerdict take(const std::uint8_t* data, std::size_t size, const SampleTime& time) noexcept;

  Input& input() noexcept { return input_; }
  /// The last refused bytes; empty if they were more than 64 KiB. Python converts them to words.
  const std::vector<std::uint8_t>& refused() const noexcept { return refused_; }
  /// Reason of the last doubted joints.
  const JointCheck::Problem& joint_problem() const noexcept { return joint_problem_; }

 protected:
  MessageReader(const Part& plan, Controller& controller, std::int64_t problem);
  /// A field of the controller's state; throws PlanError if it does not exist.
  Span field(const std::string& name);

  /// Finds stamp and values; returns true if the message is readable.
  virtual bool decode(Cdr& cdr) noexcept = 0;
  /// Decides if its values may be written.
  virtual MessageVerdict judge() noexcept = 0;
  /// Writes them, after the input has accepted them.
  virtual void write(std::int64_t now_ns) noexcept = 0;
  /// Reports an unusable message to the controller.
  virtual void reject() noexcept {}

  Controller& controller_;
  Time stamp_ns_;
  /// True for robot state, of which a sample may be repeated.
  bool is_state_ = true;
  JointCheck::Problem joint_problem_;

 private:
  Input& input_;
  std::int64_t problem_;
  std::vector<std::uint8_t> refused_;
};

/// Creates the bytes of one output: a message that was serialised once, filled repeatedly.
class CommandEncoder {
 public:
  /// Throws PlanError if the plan is not that of an output with this many joints.
  CommandEncoder(const Part& plan, std::size_t joints);
  std::size_t joints() const noexcept { return joints_; }

  /// The message of these targets; the next call overwrites it. `stamp_ns`: of the samples.
  const std::vector<std::uint8_t>& encode(const Targets& targets, std::int64_t stamp_ns,
                                          std::uint64_t sequence) noexcept;

 private:
  bool is_joint_command() const noexcept { return rows_ > 1; }
  /// Distance between two arrays of numbers.
  std::size_t row_bytes() const noexcept { return (joints_ + 1) * sizeof(double); }
  template <class T>
  void store(T value, std::size_t at) noexcept {
    std::memcpy(message_.data() + at, &value, sizeof value);
  }

  std::size_t joints_, values_at_, rows_ = 1;
  bool is_stamped_;
  std::uint8_t damp_mode_ = 0;
  std::vector<std::uint8_t> message_;
};

}  // namespace policy_core
