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

/// Options that only a service supports; ignoring them would misinterpret values.
void check_meaning(const Options& options) {
  const auto refuse = [&options](bool is_asked, const std::string& what) {
    if (!is_asked) return;
    throw std::invalid_argument(what + "; '" + options.source +
                                "' runs the bare model. Use a service, or do this in your program");
  };
  refuse(options.scaling == Scaling::physical,
         "scaling: physical values are scaled by a service, which has the bundle");
  refuse(options.answer == AnswerKind::target,
         "answer: targets are made by a service, which has the bundle");
  refuse(!options.policy_sha256.empty(), "policy_sha256: the hash is checked by a service");
  if (options.scaling == Scaling::normalised &&
      !(options.mean.empty() && options.divisor.empty())) {
    throw std::invalid_argument(
        "mean, divisor: expected none for observations that are already normalized");
  }
}

void check_values(const char* name, const std::vector<float>& values, const Options& options) {
  if (!values.empty() && values.size() != options.obs_dim) {
    throw std::invalid_argument(std::string(name) + ": expected " +
                                std::to_string(options.obs_dim) + " values, found " +
                                std::to_string(values.size()));
  }
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    throw std::invalid_argument(std::string(name) + ": expected finite values");
  }
}

}  // namespace

InProcessSource::InProcessSource(std::unique_ptr<Model> model, const Options& options)
    : options_(options), work_(std::make_shared<Work>()) {
  check_meaning(options_);
  check_values("mean", options_.mean, options_);
  check_values("divisor", options_.divisor, options_);
  if (std::any_of(options_.divisor.begin(), options_.divisor.end(),
                  [](float value) { return !(value > 0.0F); })) {
    throw std::invalid_argument("divisor: expected values above 0");
  }
  work_->model = std::move(model);
  work_->observation.resize(std::size_t{options.rows} * options.obs_dim);
  work_->action.resize(std::size_t{options.rows} * options.act_dim);
  thread_ = std::thread([work = work_] { InProcessSource::work(*work); });
}

InProcessSource::~InProcessSource() {
  bool idle = false;
  {
    std::unique_lock<std::mutex> lock(work_->mutex);
    idle = work_->changed.wait_for(lock, options_.answer_limit,
                                   [this] { return work_->task == Work::Task::none; });
    work_->task = Work::Task::end;
  }
  work_->changed.notify_all();
  idle ? thread_.join() : thread_.detach();
}

void InProcessSource::work(Work& work) noexcept {
  std::unique_lock<std::mutex> lock(work.mutex);
  while (true) {
    work.changed.wait(lock, [&work] { return work.task != Work::Task::none; });
    if (work.task == Work::Task::end) return;
    lock.unlock();
    work.succeeded = work.model->run(work.observation.data(), work.action.data(), work.message);
    work.answered_ns = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
    lock.lock();
    if (work.task == Work::Task::end) return;
    work.task = Work::Task::none;
    work.changed.notify_all();
  }
}

Answer InProcessSource::tick(const float* observation, std::int64_t stamp_ns,
                             float* action) noexcept {
  const auto start = Clock::now();
  const auto until = start + options_.timeout;
  const auto spin_until = start + std::min(options_.spin, options_.timeout);
  Answer answer;
  answer.status = Status::pending;
  if (handed_over_) {
    if (!wait_for_worker(until, spin_until)) {
      if (Clock::now() - handed_over_at_ > options_.answer_limit) {
        message_.set("%s: no answer within %lld ms", options_.source.c_str(),
                     static_cast<long long>(options_.answer_limit.count()));
        answer.status = Status::disconnected;
      } else {
        message_.set("%s: the answer to an earlier observation is still pending",
                     options_.source.c_str());
      }
      return answer;
    }
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
  handed_over_at_ = Clock::now();
  {
    const std::lock_guard<std::mutex> lock(work_->mutex);
    work_->task = Work::Task::run;
  }
  work_->changed.notify_all();
  if (wait_for_worker(until, spin_until)) return take(action);
  if (answer.status != Status::stale) {
    answer.status = Status::late;
    message_.set("%s: no answer within %lld us", options_.source.c_str(),
                 static_cast<long long>(options_.timeout.count()));
  }
  return answer;
}

bool InProcessSource::wait_for_worker(Clock::time_point until,
                                      Clock::time_point spin_until) noexcept {
  const auto idle = [this] { return work_->task == Work::Task::none; };
  while (Clock::now() < spin_until) {
    const std::unique_lock<std::mutex> lock(work_->mutex, std::try_to_lock);
    if (lock && idle()) return true;
  }
  std::unique_lock<std::mutex> lock(work_->mutex);
  return work_->changed.wait_until(lock, until, idle);
}

Answer InProcessSource::take(float* action) noexcept {
  handed_over_ = false;
  if (!work_->succeeded) {
    message_ = work_->message;
    return {Status::error, 0, 0};
  }
  const std::vector<float>& found = work_->action;
  if (std::any_of(found.begin(), found.end(), [](float v) { return !std::isfinite(v); })) {
    message_.set("%s: the action is not finite", options_.source.c_str());
    return {Status::error, 0, 0};
  }
  message_.clear();
  if (action != nullptr) std::copy(found.begin(), found.end(), action);
  return {Status::ok, stamp_ns_, work_->answered_ns};
}

bool InProcessSource::normalise(const float* observation) noexcept {
  for (std::size_t i = 0; i < work_->observation.size(); ++i) {
    const std::size_t column = i % options_.obs_dim;
    float value = observation[i];
    if (!options_.mean.empty()) value -= options_.mean[column];
    if (!options_.divisor.empty()) value /= options_.divisor[column];
    // A non-finite value stays non-finite here; a large one may become non-finite.
    if (!std::isfinite(value)) {
      message_.set("%s: value %zu of the observation is not finite%s", options_.source.c_str(), i,
                   std::isfinite(observation[i]) ? " once normalized" : "");
      return false;
    }
    work_->observation[i] = value;
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
