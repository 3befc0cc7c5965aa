// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace policy_client {

/// Preprocessing of an observation's values by the caller.
enum class Scaling : std::uint16_t {
  physical = 0,    ///< SI units; the service scales, clips and normalises. Needs a bundle.
  scaled = 1,      ///< The contract's scales and clips are applied; normalisation is not.
  normalised = 2,  ///< Exactly the model's input.
};

/// Meaning of a row of an answer.
enum class AnswerKind : std::uint16_t {
  action = 0,  ///< The model's output.
  target = 1,  ///< A command for each joint, in rad, rad/s or N·m. Needs a bundle.
};

/// Location of a policy, its required properties, and the longest wait for it.
struct Options {
  /// `unix:PATH`, `shm:PATH` (Unix socket, then shared memory), `onnx:FILE` or `rknn:FILE`.
  std::string source;

  std::uint32_t obs_dim = 0;  ///< Values of one robot's observation.
  std::uint32_t act_dim = 0;  ///< Values of one robot's answer.
  std::uint32_t rows = 1;     ///< Robots in one observation.

  std::chrono::microseconds timeout{2000};  ///< Longest wait of one tick.
  std::chrono::microseconds spin{0};  ///< Part of that spent polling instead of sleeping.
  bool deliver_stale = false;  ///< Return answers to earlier observations, as Status::stale.

  // A model in the process refuses a hash, Scaling::physical and AnswerKind::target.
  std::string policy_sha256;  ///< 64 hexadecimal digits of the policy's hash; empty: any policy.
  Scaling scaling = Scaling::scaled;
  AnswerKind answer = AnswerKind::action;

  // Of a service only: how to reconnect.
  std::chrono::milliseconds retry_first{20};   ///< Pause after a failed attempt to connect, …
  std::chrono::milliseconds retry_most{1000};  ///< … doubled each time up to this.

  /// A service that does not answer or greet within this time is disconnected and reconnected. A
  /// model in the process then counts as disconnected; a source that ends abandons it.
  std::chrono::milliseconds answer_limit{500};

  // Of a model in the process only.
  std::vector<float> mean;     ///< Subtracted from the observation, obs_dim values; empty: none.
  std::vector<float> divisor;  ///< Then divides it: max(std, 1e-3), obs_dim values; empty: none.
};

enum class Status {
  ok,            ///< `action` answers this observation.
  stale,         ///< `action` answers an earlier one: see Answer::stamp_ns.
  late,          ///< The observation was sent; no answer yet.
  pending,       ///< An earlier one is still unanswered, so this one was not sent.
  disconnected,  ///< No connection, ticks keep trying; or no answer within answer_limit.
  refused,       ///< The service refuses this client; no attempt before retry().
  error,         ///< The policy has no answer to this observation: see PolicySource::message().
};

/// The name of a status, for logs.
const char* to_string(Status status) noexcept;

/// The result of one tick.
struct Answer {
  Status status = Status::disconnected;
  /// Of the observation that `action` answers, as passed to tick(): ok and stale only.
  std::int64_t stamp_ns = 0;
  std::uint64_t answered_ns = 0;  ///< CLOCK_MONOTONIC of the policy's machine: ok and stale only.
};

/// The policy of a service, as it describes itself; for a model in the process, only the numbers.
/// Texts may contain any bytes, including control characters of a terminal.
struct PolicyInfo {
  std::string sha256;  ///< Hexadecimal.
  std::string name;
  std::string version;
  std::uint32_t obs_dim = 0;
  std::uint32_t act_dim = 0;
  double rate_hz = 0.0;             ///< 0 if unknown.
  std::vector<std::string> joints;  ///< The robot's names, in the order of AnswerKind::target.
};

/// Turns observations into actions, wherever the policy runs. For one thread, the control thread.
class PolicySource {
 public:
  virtual ~PolicySource() = default;

  /// Sends an observation and waits for the answer, at most Options::timeout.
  ///
  /// Throws nothing and, once connected, allocates nothing. Without a connection, it waits for the
  /// connecting thread, within the same time.
  ///
  /// @param observation  rows × obs_dim values, row after row.
  /// time of measurement, on the caller's clock.
  /// @param action       rows × act_dim values; written for ok and stale only.
  virtual Answer tick(const float* observation, std::int64_t stamp_ns, float* action) noexcept = 0;

  /// Waits until the source is ready, at most `limit`; for the start, before control begins.
  /// Returns ok, disconnected or refused.
  virtual Status connect(std::chrono::milliseconds limit) noexcept = 0;

  /// The next observation starts with a fresh recurrent state.
  virtual void reset() noexcept = 0;

  /// Clears a refusal and the pause between attempts: the next tick connects.
  virtual void retry() noexcept = 0;

  /// Why the latest tick or connect brought no answer; otherwise empty. Valid until the next call
  /// of this source.
  virtual const char* message() const noexcept = 0;

  /// Known data of the policy; for a service, empty before the first connection. Allocates.
  virtual PolicyInfo info() const = 0;
};

/// Creates the source that Options::source names, without waiting for a service. A source behind a
/// socket starts a thread that connects and disconnects; its destructor waits for it at most
/// answer_limit.
///
/// @throws std::invalid_argument for options that cannot work, and for a source that this build of
/// the library lacks; the text names it and the remedy.
/// @throws std::runtime_error for a file that cannot be read, or a model that does not fit.
std::unique_ptr<PolicySource> make_policy_source(const Options& options);

/// The kinds of source in this build, separated by commas.
const char* available_sources() noexcept;

}  // namespace policy_client
