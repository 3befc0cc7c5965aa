// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace policy_client {

/// How the caller has preprocessed the values of an observation.
enum class Scaling : std::uint16_t {
  physical = 0,    ///< SI units; the service scales, clips and normalises. Needs a bundle.
  scaled = 1,      ///< Scaled and clipped as the contract requires, but not normalised.
  normalised = 2,  ///< Exactly the model's input.
};

/// What a row of an answer contains.
enum class AnswerKind : std::uint16_t {
  action = 0,  ///< The model's output.
  target = 1,  ///< A command for each joint, in rad, rad/s or N·m. Needs a bundle.
};

/// Where the policy is, the properties that it must have, and how long to wait for it.
struct Options {
  /// `unix:PATH`, `shm:PATH` (Unix socket, then shared memory), `onnx:FILE` or `rknn:FILE`.
  std::string source;

  std::uint32_t obs_dim = 0;  ///< Number of values in one robot's observation.
  std::uint32_t act_dim = 0;  ///< Number of values in one robot's answer.
  std::uint32_t rows = 1;     ///< Number of robots in one observation.

  std::chrono::microseconds timeout{2000};  ///< Maximum wait of one tick.
  std::chrono::microseconds spin{0};  ///< Part of `timeout` spent polling instead of sleeping.
  bool deliver_stale = false;  ///< Return answers to earlier observations, as Status::stale.

  // An in-process model refuses a hash, Scaling::physical and AnswerKind::target.
  std::string policy_sha256;  ///< Hash of the policy, 64 hexadecimal digits; empty: any policy.
  Scaling scaling = Scaling::scaled;
  AnswerKind answer = AnswerKind::action;

  // For a service only: how to reconnect.
  std::chrono::milliseconds retry_first{20};   ///< Pause after a failed attempt to connect, …
  std::chrono::milliseconds retry_most{1000};  ///< … doubled each time up to this.

  /// A service that does not answer or greet within this time is disconnected and reconnected. An
  /// in-process model then counts as disconnected, and is abandoned when the source is destroyed.
  std::chrono::milliseconds answer_limit{500};

  // For an in-process model only; obs_dim values each, or empty for none.
  std::vector<float> mean;     ///< Subtracted from the observation.
  std::vector<float> divisor;  ///< Then divides it: max(std, 1e-3).
};

enum class Status {
  ok,            ///< `action` answers this observation.
  stale,         ///< `action` answers an earlier observation: see Answer::stamp_ns.
  late,          ///< The observation was sent, but not answered in time.
  pending,       ///< An earlier observation is still unanswered, so this one was not sent.
  disconnected,  ///< No connection (ticks keep trying), or no answer within answer_limit.
  refused,       ///< The service refuses this client; no further attempt before retry().
  error,         ///< The policy has no answer to this observation: see PolicySource::message().
};

/// The name of a status, for logs.
const char* to_string(Status status) noexcept;

/// The result of one tick.
struct Answer {
  Status status = Status::disconnected;
  /// For ok and stale: stamp of the observation that `action` answers, as passed to tick().
  std::int64_t stamp_ns = 0;
  /// For ok and stale: time of the answer on the policy machine's CLOCK_MONOTONIC.
  std::uint64_t answered_ns = 0;
};

/// A service's description of its policy; for an in-process model, only the dimensions. Texts may
/// contain any bytes, including control characters for a terminal.
struct PolicyInfo {
  std::string sha256;  ///< Hexadecimal.
  std::string name;
  std::string version;
  std::uint32_t obs_dim = 0;
  std::uint32_t act_dim = 0;
  double rate_hz = 0.0;             ///< 0 if unknown.
  std::vector<std::string> joints;  ///< The robot's joints, in the order of AnswerKind::target.
};

/// Turns observations into actions, wherever the policy runs. Only the control thread may use it.
class PolicySource {
 public:
  virtual ~PolicySource() = default;

  /// Sends an observation and waits for the answer, for at most Options::timeout.
  ///
  /// Throws nothing and, once connected, allocates nothing. Without a connection, it waits for the
  /// connecting thread within the same time.
  ///
  /// @param observation  rows × obs_dim values, row after row.
  /// @param stamp_ns     Time of measurement, on the caller's clock.
  /// @param action       rows × act_dim values; written for ok and stale only.
  virtual Answer tick(const float* observation, std::int64_t stamp_ns, float* action) noexcept = 0;

  /// Waits until the source is ready, for at most `limit`; to be called before control begins.
  /// Returns ok, disconnected or refused.
  virtual Status connect(std::chrono::milliseconds limit) noexcept = 0;

  /// Makes the next observation start with a fresh recurrent state.
  virtual void reset() noexcept = 0;

  /// Clears a refusal and the pause between attempts, so that the next tick connects.
  virtual void retry() noexcept = 0;

  /// Why the latest tick or connect brought no answer; empty if it did. Valid until the next call
  /// to this source.
  virtual const char* message() const noexcept = 0;

  /// What is known about the policy; for a service, empty before the first connection. Allocates.
  virtual PolicyInfo info() const = 0;
};

/// Creates the source that Options::source names, without waiting for a service. For a socket, it
/// starts a thread that connects and disconnects; its destructor waits for that thread, for at most
/// answer_limit.
///
/// @throws std::invalid_argument for options that cannot work, or a source that this build of the
/// library lacks; the text names it and the remedy.
/// @throws std::runtime_error for a file that cannot be read, or a model that does not fit.
std::unique_ptr<PolicySource> make_policy_source(const Options& options);

/// The kinds of source in this build, separated by commas.
const char* available_sources() noexcept;

}  // namespace policy_client
