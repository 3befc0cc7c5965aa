// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "model.hpp"

namespace policy_client {

/// Runs a model on a separate thread, so that a slow one does not delay control.
class InProcessSource : public PolicySource {
 public:
  /// @throws std::invalid_argument for a mean or divisor of the wrong size.
  InProcessSource(std::unique_ptr<Model> model, const Options& options);
  ~InProcessSource() override;
  InProcessSource(const InProcessSource&) = delete;
  InProcessSource& operator=(const InProcessSource&) = delete;

  Answer tick(const float* observation, std::int64_t stamp_ns, float* action) noexcept override;
  Status connect(std::chrono::milliseconds) noexcept override { return Status::ok; }
  void reset() noexcept override {}  // Models with recurrent state are refused.
  void retry() noexcept override {}
  const char* message() const noexcept override { return message_.text(); }
  PolicyInfo info() const override;

 private:
  /// State that both threads share and own: a model that never returns is abandoned with it.
  ///
  /// While `task` is `run`, only the worker uses the fields after it; otherwise, only the control
  /// thread.
  struct Work {
    enum class Task { none, run, end };
    std::mutex mutex;
    std::condition_variable changed;
    Task task = Task::none;
    std::unique_ptr<Model> model;
    std::vector<float> observation;
    std::vector<float> action;
    std::uint64_t answered_ns = 0;
    bool succeeded = false;
    Message message;
  };

  static void work(Work& work) noexcept;
  bool wait_for_worker(std::chrono::steady_clock::time_point until,
                       std::chrono::steady_clock::time_point spin_until) noexcept;
  Answer take(float* action) noexcept;
  bool normalise(const float* observation) noexcept;

  const Options options_;
  const std::shared_ptr<Work> work_;
  std::int64_t stamp_ns_ = 0;
  Message message_;
  bool handed_over_ = false;  ///< The worker has an observation whose answer was not taken yet.
  std::chrono::steady_clock::time_point handed_over_at_{};
  std::thread thread_;
};

}  // namespace policy_client
