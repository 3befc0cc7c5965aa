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

/// A model that runs on a thread of its own, so that a slow one does not hold up the control.
///
/// While `work_` is `model`, the worker alone touches the buffers below it, else the control thread.
class InProcessSource : public PolicySource {
 public:
  /// @throws std::invalid_argument for a mean or divisor that does not fit.
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
  enum class Work { none, model, end };

  void work() noexcept;
  bool wait_for_worker(std::chrono::steady_clock::time_point until,
                       std::chrono::steady_clock::time_point spin_until) noexcept;
  Answer take(float* action) noexcept;
  bool normalise(const float* observation) noexcept;

  const Options options_;
  const std::unique_ptr<Model> model_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Work work_ = Work::none;
  std::vector<float> observation_;
  std::vector<float> action_;
  std::int64_t stamp_ns_ = 0;
  std::uint64_t answered_ns_ = 0;
  bool succeeded_ = false;
  Message model_message_;
  Message message_;
  bool handed_over_ = false;  ///< An observation, of which the answer was not taken yet.
  std::thread thread_;
};

}  // namespace policy_client
