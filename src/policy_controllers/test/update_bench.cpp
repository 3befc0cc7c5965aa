// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// update_bench PLAN [--seconds S] [--priority P]: how long an update in RUN takes beside its model
// alone, by turns: back to back, and one of them in each period of the policy for S seconds. P: of
// SCHED_FIFO, with all memory locked. The plan is of a policy alone.

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "policy_controllers/policy_update.hpp"

using namespace policy_controllers;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kRuns = 20000;

/// A robot that stands upright where it is told to, and what it measures.
class Robot {
 public:
  explicit Robot(const char* plan) : policy_(plan, read, this) {
    policy_.set_update_rate(1e9 / static_cast<double>(period_ns()));
    const auto& poses =
        policy_core::Part(policy_core::Table::open(plan)).at("stand").numbers("poses");
    joints_ = policy_.facts().joints.size();
    pose_.assign(poses.end() - static_cast<std::ptrdiff_t>(joints_), poses.end());
    values_.resize(policy_.value_count());
    policy_.start();
  }

  std::int64_t period_ns() const { return policy_.facts().period_ns; }
  const policy_core_runner& model() const { return *policy_.models().at(0).second; }

  /// Lets the policy run.
  void stand_up() {
    for (int i = 0; i < 5000 && policy_.mode() != policy_core::Mode::kRun; ++i) {
      update();
      if (policy_.mode() == policy_core::Mode::kDamp) refusal_ = policy_.stand();
      if (policy_.mode() == policy_core::Mode::kReady) refusal_ = policy_.run();
    }
    if (policy_.mode() == policy_core::Mode::kRun) return;
    std::fprintf(stderr, "the policy does not run: %s\n", refusal_.c_str());
    std::exit(1);
  }

  /// Measures a period later, and returns how long the update took, ns.
  std::int64_t update() {
    now_ns_ += period_ns();
    measure();
    const auto began = Clock::now();
    const auto* targets = policy_.update(values_.data(), nullptr, 0);
    const auto took_ns = (Clock::now() - began).count();
    if (targets && policy_.mode() != policy_core::Mode::kDamp) {
      std::copy_n(targets->block().begin(), joints_, pose_.begin());
    }
    return took_ns;
  }

  void check() {
    if (policy_.mode() == policy_core::Mode::kRun) return;
    std::fprintf(stderr, "the policy runs no more: %s\n", policy_.reason(policy_.report()).c_str());
    std::exit(1);
  }

 private:
  static std::int64_t read(void* self) { return static_cast<Robot*>(self)->now_ns_; }

  void measure() {
    std::normal_distribution<double> noise(0.0, 1e-3);
    std::size_t i = 0;
    for (const auto& field : policy_.facts().fields) {
      for (std::size_t value = 0; value < field.size; ++value, ++i) {
        const bool is_up = field.source == "orientation" && value == 3;
        const double at = field.source == "position" ? pose_[value] : is_up ? 1.0 : 0.0;
        values_[i] = at + (is_up ? 0.0 : noise(random_));
      }
    }
  }

  std::int64_t now_ns_ = 1'000'000'000;
  PolicyUpdate policy_;
  std::size_t joints_ = 0;
  std::vector<double> pose_, values_;
  std::string refusal_;
  std::mt19937 random_;
};

std::int64_t run(const policy_core_runner& model) {
  const auto began = Clock::now();
  if (model.run(model.context) != 0) std::exit(1);
  return (Clock::now() - began).count();
}

using Durations = std::vector<std::int64_t>;

double at_us(Durations& durations, double share) {
  std::sort(durations.begin(), durations.end());
  const auto last = static_cast<double>(durations.size() - 1);
  return static_cast<double>(durations[static_cast<std::size_t>(last * share)]) * 1e-3;
}

void print(const char* what, Durations model, Durations update) {
  const double model_us = at_us(model, 0.5), update_us = at_us(update, 0.5);
  std::printf("%s: model %.1f us (p99.9 %.1f), update %.1f us (p99.9 %.1f): %.2f times\n", what,
              model_us, at_us(model, 0.999), update_us, at_us(update, 0.999), update_us / model_us);
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2 || count % 2) return 2;
  double seconds = 20.0;
  for (int i = 2; i + 1 < count; i += 2) {
    if (std::strcmp(arguments[i], "--seconds") == 0) seconds = std::atof(arguments[i + 1]);
    if (std::strcmp(arguments[i], "--priority") == 0) {
      sched_param priority{};
      priority.sched_priority = std::atoi(arguments[i + 1]);
      if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) != 0 ||
          mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        std::fprintf(stderr, "the machine grants no priority\n");
        return 1;
      }
    }
  }
  Robot robot(arguments[1]);
  robot.stand_up();
  Durations model, update;
  for (int i = 0; i < kRuns; ++i) {
    model.push_back(run(robot.model()));
    update.push_back(robot.update());
  }
  robot.check();
  print("back to back", model, update);
  model.clear();
  update.clear();
  const std::chrono::nanoseconds period(robot.period_ns());
  const auto begin = Clock::now();
  for (int i = 1; i * std::chrono::duration<double>(period).count() < seconds; ++i) {
    std::this_thread::sleep_until(begin + i * period);
    if (i % 2) {
      model.push_back(run(robot.model()));
    } else {
      update.push_back(robot.update());
    }
  }
  robot.check();
  print("once per period", model, update);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
