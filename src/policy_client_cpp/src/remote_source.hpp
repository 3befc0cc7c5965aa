// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "connector.hpp"

namespace policy_client {

/// A policy that a service runs. At most one observation is unanswered at a time.
class RemoteSource : public PolicySource {
 public:
  /// @throws std::invalid_argument for options that cannot work.
  RemoteSource(const std::string& path, const Options& options, bool shared_memory);

  Answer tick(const float* observation, std::int64_t stamp_ns, float* action) noexcept override;
  Status connect(std::chrono::milliseconds limit) noexcept override;
  void reset() noexcept override { reset_ = true; }
  void retry() noexcept override { connector_.retry(); }
  const char* message() const noexcept override { return message_.text(); }
  PolicyInfo info() const override;

 private:
  enum class Outcome { nothing, stale, answered, no_answer };

  bool is_ready_by(Clock::time_point until, bool through_pauses) noexcept;
  void give_link_away() noexcept;
  Answer exchange(const float* observation, std::int64_t stamp_ns, float* action,
                  Clock::time_point start) noexcept;
  void send(const float* observation, std::int64_t stamp_ns) noexcept;
  Outcome take(const Frame& frame, float* action) noexcept;
  bool take_error(const Frame& frame) noexcept;
  bool take_action(const Frame& frame, float* action) noexcept;
  Status status_without_link() noexcept;
  void explain(Status status) noexcept;

  const Options options_;
  Connector connector_;
  Message message_;
  std::vector<std::byte> welcome_;  ///< Payload of the latest connection's WELCOME.
  bool connected_ = false;          ///< The link is ready, and was ready before this tick.
  std::uint64_t sequence_ = 0;  ///< Number of the last observation sent, …
  std::int64_t stamp_ns_ = 0;   ///< … and its time of measurement.
  bool owed_ = false;           ///< It is unanswered, …
  bool current_ = false;        ///< … and belongs to the current tick.
  Clock::time_point owed_since_{};
  bool reset_ = false;
};

}  // namespace policy_client
