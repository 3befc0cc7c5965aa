// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace policy_client {

/// What was done to the values of an observation before it is handed over.
enum class Scaling : std::uint16_t {
  physical = 0,    ///< SI units; the service scales, clips and normalises. Needs a bundle.
  scaled = 1,      ///< Scales and clips of the contract are applied; normalisation is not.
  normalised = 2,  ///< Exactly what the model gets.
};

/// What a row of an answer holds.
enum class AnswerKind : std::uint16_t {
  action = 0,  ///< The model's output.
  target = 1,  ///< A command for each joint, in rad, rad/s or N·m. Needs a bundle.
};

/// Where a policy is, what it must be, and how long one may wait for it.
struct Options {
  /// `unix:PATH`, `shm:PATH` (Unix socket, then shared memory), `onnx:FILE` or `rknn:FILE`.
  std::string source;

  std::uint32_t obs_dim = 0;  ///< Values of one robot's observation.
  std::uint32_t act_dim = 0;  ///< Values of one robot's answer.
  std::uint32_t rows = 1;     ///< Robots in one observation.

  std::chrono::microseconds timeout{2000};  ///< Longest wait of one tick.
  std::chrono::microseconds spin{0};  ///< Of that, how long to look without sleeping.
  bool deliver_stale = false;  ///< Hand over answers to earlier observations, as Status::stale.

  // A model in the process refuses a hash, Scaling::physical and AnswerKind::target.
  std::string policy_sha256;  ///< 64 hexadecimal digits of the policy's hash; empty: any policy.
  Scaling scaling = Scaling::scaled;
  AnswerKind answer = AnswerKind::action;

  // Of a service only: how it is reached.
  std::chrono::milliseconds retry_first{20};   ///< Pause after a failed attempt to connect, …
  std::chrono::milliseconds retry_most{1000};  ///< … doubled each time up to this.

  /// A service that owes an answer or a greeting for so long is given up: connect again. A model in
  /// the process counts as disconnected then, and is left behind by a source that ends.
  std::chrono::milliseconds answer_limit{500};

  // Of a model in the process only.
  std::vector<float> mean;     ///< Subtracted from the observation, obs_dim values; empty: nothing.
  std::vector<float> divisor;  ///< Then divides it: max(std, 1e-3), obs_dim values; empty: nothing.
};

enum class Status {
  ok,            ///< `action` answers this observation.
  stale,         ///< `action` answers an earlier one: see Answer::stamp_ns.
  late,          ///< The observation was handed over; no answer yet.
  pending,       ///< An earlier one is still unanswered, so this one was not handed over.
  disconnected,  ///< No connection, and the ticks go on trying; or no answer within answer_limit.
  refused,       ///< The service will not have this client; nothing is tried before retry().
  error,         ///< The policy has no answer to this observation: see PolicySource::message().
};

/// The name of a status, for logs.
const char* to_string(Status status) noexcept;

/// What became of one tick.
struct Answer {
  Status status = Status::disconnected;
  /// Of the observation that `action` answers, as it was handed to tick(): ok and stale only.
  std::int64_t stamp_ns = 0;
  std::uint64_t answered_ns = 0;  ///< CLOCK_MONOTONIC of the policy's machine: ok and stale only.
};

/// The policy of a service, as it describes it; for a model in the process, only the numbers. Texts
/// may hold any bytes, also control characters of a terminal.
struct PolicyInfo {
  std::string sha256;  ///< Hexadecimal.
  std::string name;
  std::string version;
  std::uint32_t obs_dim = 0;
  std::uint32_t act_dim = 0;
  double rate_hz = 0.0;             ///< 0 where not known.
  std::vector<std::string> joints;  ///< The robot's names, in the order of AnswerKind::target.
};

/// Turns observations into actions, wherever the policy runs. For one thread, the one that controls.
class PolicySource {
 public:
  virtual ~PolicySource() = default;

  /// Hands an observation over and waits for the answer, at most Options::timeout.
  ///
  /// Throws nothing and, once connected, allocates nothing. Where there is no connection, it waits
  /// for the thread that connects (again), within the same time.
  ///
  /// @param observation  rows × obs_dim values, row after row.
  /// @param stamp_ns     when it was measured, by the caller's clock.
  /// @param action       rows × act_dim values; written for ok and stale only.
  virtual Answer tick(const float* observation, std::int64_t stamp_ns, float* action) noexcept = 0;

  /// Waits until the source is ready, at most `limit`; for the start, before control begins.
  /// Returns ok, disconnected or refused.
  virtual Status connect(std::chrono::milliseconds limit) noexcept = 0;

  /// The next observation starts with clean recurrent state.
  virtual void reset() noexcept = 0;

  /// Forgets a refusal and the pause between attempts: the next tick connects.
  virtual void retry() noexcept = 0;

  /// Why the latest tick, or connect, brought no answer; empty where it did. Valid until the next
  /// call of this source.
  virtual const char* message() const noexcept = 0;

  /// What is known of the policy; of a service empty before it was first connected. Allocates.
  virtual PolicyInfo info() const = 0;
};

/// Makes the source that Options::source names. Does not wait for a service to be there. One behind a
/// socket begins a thread, which connects and hangs up; its end waits for that at most answer_limit.
///
/// @throws std::invalid_argument for options that cannot work, and for a source that this build
///   of the library does not have; the text says which and what to do.
/// @throws std::runtime_error for a file that cannot be read, or a model that does not fit.
std::unique_ptr<PolicySource> make_policy_source(const Options& options);

/// The kinds of source that this build has, separated by commas.
const char* available_sources() noexcept;

}  // namespace policy_client
