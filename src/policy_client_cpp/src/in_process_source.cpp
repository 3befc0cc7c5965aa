// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "in_process_source.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace policy_client {
namespace {

using Clock = std::chrono::steady_clock;

void check_size(const char* name, const std::vector<float>& values, const Options& options) {
  if (!values.empty() && values.size() != options.obs_dim) {
    throw std::invalid_argument(std::string(name) + ": expected " +
                                std::to_string(options.obs_dim) + " values, found " +
                                std::to_string(values.size()));
  }
}

}  // namespace

InProcessSource::InProcessSource(std::unique_ptr<Model> model, const Options& options)
    : options_(options),
      model_(std::move(model)),
      observation_(std::size_t{options.rows} * options.obs_dim),
      action_(std::size_t{options.rows} * options.act_dim) {
  check_size("mean", options_.mean, options_);
  check_size("divisor", options_.divisor, options_);
  if (std::any_of(options_.divisor.begin(), options_.divisor.end(),
                  [](float value) { return !(value > 0.0F); })) {
    throw std::invalid_argument("divisor: expected values above 0");
  }
  thread_ = std::thread([this] { work(); });
}

InProcessSource::~InProcessSource() {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return work_ != Work::model; });
    work_ = Work::end;
  }
  changed_.notify_all();
  thread_.join();
}

void InProcessSource::work() noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return work_ != Work::none; });
    if (work_ == Work::end) return;
    lock.unlock();
    succeeded_ = model_->run(observation_.data(), action_.data(), model_message_);
    answered_ns_ = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
    lock.lock();
    work_ = Work::none;
    changed_.notify_all();
  }
}

Answer InProcessSource::tick(const float* observation, std::int64_t stamp_ns,
                             float* action) noexcept {
  const auto start = Clock::now();
  const auto until = start + options_.timeout;
  const auto spin_until = start + options_.spin;
  Answer answer;
  answer.status = Status::pending;
  if (handed_over_) {
    if (!wait_for_worker(until, spin_until)) return answer;
    const Answer earlier = take(options_.deliver_stale ? action : nullptr);
    if (options_.deliver_stale && earlier.status == Status::ok) {
      answer = earlier;
      answer.status = Status::stale;
    }
  }
  if (!normalise(observation)) {
    answer.status = Status::error;
    return answer;
  }
  stamp_ns_ = stamp_ns;
  handed_over_ = true;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = Work::model;
  }
  changed_.notify_all();
  if (wait_for_worker(until, spin_until)) return take(action);
  if (answer.status != Status::stale) answer.status = Status::late;
  return answer;
}

bool InProcessSource::wait_for_worker(Clock::time_point until,
                                      Clock::time_point spin_until) noexcept {
  const auto idle = [this] { return work_ == Work::none; };
  while (Clock::now() < spin_until) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (lock && idle()) return true;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  return changed_.wait_until(lock, until, idle);
}

Answer InProcessSource::take(float* action) noexcept {
  handed_over_ = false;
  if (!succeeded_) {
    message_ = model_message_;
    return {Status::error, 0, 0};
  }
  if (std::any_of(action_.begin(), action_.end(), [](float v) { return !std::isfinite(v); })) {
    message_.set("%s: the action is not finite", options_.source.c_str());
    return {Status::error, 0, 0};
  }
  if (action != nullptr) std::copy(action_.begin(), action_.end(), action);
  return {Status::ok, stamp_ns_, answered_ns_};
}

bool InProcessSource::normalise(const float* observation) noexcept {
  for (std::size_t i = 0; i < observation_.size(); ++i) {
    const std::size_t column = i % options_.obs_dim;
    float value = observation[i];
    if (!std::isfinite(value)) {
      message_.set("%s: value %zu of the observation is not finite", options_.source.c_str(), i);
      return false;
    }
    if (!options_.mean.empty()) value -= options_.mean[column];
    if (!options_.divisor.empty()) value /= options_.divisor[column];
    observation_[i] = value;
  }
  return true;
}

PolicyInfo InProcessSource::info() const {
  PolicyInfo info;
  info.obs_dim = options_.obs_dim;
  info.act_dim = options_.act_dim;
  return info;
}

}  // namespace policy_client
