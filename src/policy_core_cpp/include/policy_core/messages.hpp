// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Converts messages to state, and targets to messages. Messages are plain CDR (OMG DDS-RTPS 2.5,
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

/// When messages are taken, ns; see `DueTick` of the Python nodes.
struct SampleTime {
  std::int64_t now_ns;      ///< time of the tick, on the clock of ages
  std::int64_t ros_now_ns;  ///< time on the clock of stamps
  bool repeated = false;    ///< simulated time stands still, so a sample may be repeated
};

/// What a reader did with a message.
enum class MessageVerdict : std::int64_t {
  kAccepted,
  kNotNew,   ///< its stamp is not new; see `Input::refused_stamps`
  kRefused,  ///< it is unusable; its bytes are in `MessageReader::refused`
  kDoubted,  ///< its joint positions are implausible; see `MessageReader::joint_problem`
};

/// Writes the messages of one input into a controller's state: all values of a message, or none.
///
/// Accepts the same messages and writes the same bits as `policy_inference.messages.readers` with
/// the node's sampler. All methods are for the ticking thread; `take` allocates nothing and throws
/// nothing.
class MessageReader {
 public:
  /// Creates the reader that a plan describes; `problem` is the number for `Input::reject`.
  ///
  /// Throws PlanError if the plan is of an unknown kind, or for another controller.
  static std::unique_ptr<MessageReader> open(const Part& plan, Controller& controller,
                                             std::int64_t problem);
  virtual ~MessageReader() = default;

  /// Processes the newest message of `size` bytes, which begin with the CDR encapsulation header.
  MessageVerdict take(const std::uint8_t* data, std::size_t size, const SampleTime& time) noexcept;

  Input& input() noexcept { return input_; }
  /// Bytes of the last refused message, which Python explains; empty if it exceeded 64 KiB.
  const std::vector<std::uint8_t>& refused() const noexcept { return refused_; }
  /// Why joint positions were last doubted.
  const JointCheck::Problem& joint_problem() const noexcept { return joint_problem_; }

 protected:
  MessageReader(const Part& plan, Controller& controller, std::int64_t problem);
  /// A field of the controller's state; throws PlanError if it does not exist.
  Span field(const std::string& name);

  /// Finds the message's stamp and values; returns true if it is readable.
  virtual bool decode(Cdr& cdr) noexcept = 0;
  /// Decides if its values may be written, by the time of the tick.
  virtual MessageVerdict judge(std::int64_t now_ns) noexcept = 0;
  /// Writes its values, after the input has accepted them.
  virtual void write(std::int64_t now_ns) noexcept = 0;
  /// Reports an unusable message to the controller.
  virtual void reject() noexcept {}

  Controller& controller_;
  Time stamp_ns_;
  /// True for the robot's state, whose samples may be repeated.
  bool is_state_ = true;
  JointCheck::Problem joint_problem_;

 private:
  Input& input_;
  std::int64_t problem_;
  std::vector<std::uint8_t> refused_;
};

/// Serialises targets for one output by filling the values into a prepared message.
class CommandEncoder {
 public:
  /// Throws PlanError if the plan is not for an output with this many joints.
  CommandEncoder(const Part& plan, std::size_t joints);
  std::size_t joints() const noexcept { return joints_; }

  /// The message with these targets; the next call overwrites it. `stamp_ns` is the samples' stamp.
  const std::vector<std::uint8_t>& encode(const Targets& targets, std::int64_t stamp_ns,
                                          std::uint64_t sequence) noexcept;

 private:
  bool is_joint_command() const noexcept { return rows_ > 1; }
  /// Distance in bytes between two successive arrays of numbers.
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
