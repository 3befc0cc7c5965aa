// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// estimator_check PLAN SEED UPDATES: updates an estimator with samples at random, and those of
// damaged plans. Ends with 1 where an update allocates or a cut plan is accepted; sanitizers find
// the rest.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "allocations.hpp"
#include "policy_core/velocity_estimator.hpp"

namespace {

using namespace policy_core;
using Plan = std::vector<std::uint8_t>;

void update(VelocityEstimator& estimator, const VelocityEstimator::Sample& sample) NONBLOCKING {
  estimator.update(sample);
}

void live(VelocityEstimator& estimator, std::mt19937& random, int updates) {
  std::normal_distribution<double> any;
  Numbers joint_pos(estimator.joint_count()), joint_vel(estimator.joint_count());
  for (int i = 0; i < updates; ++i) {
    // Sometimes at rest, sometimes beyond any robot.
    const double scale = random() % 3 ? 0.01 : random() % 10 ? 3.0 : 1e200;
    for (auto& value : joint_pos) value = any(random);
    for (auto& value : joint_vel) value = scale * any(random);
    const double step_s = random() % 50 ? 0.002 : 0.2 * any(random);
    const VelocityEstimator::Sample sample{step_s,
                                           joint_pos.data(),
                                           joint_vel.data(),
                                           {0.1 * any(random), 0.1 * any(random), 0.0, 1.0},
                                           {scale * any(random), 0.0, scale * any(random)},
                                           {0.0, scale * any(random), 9.81}};
    counting = true;
    update(estimator, sample);
    counting = false;
    if (random() % 1000 == 0) estimator.restart();
  }
}

bool is_refused(const Plan& plan, std::mt19937& random) try {
  const auto table = Table::parse(plan.data(), plan.size());
  VelocityEstimator estimator(Part(table).at("estimation"));
  live(estimator, random, 5);
  return false;
} catch (const PlanError&) {
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4 || !counts()) return 2;
  std::ifstream file(arguments[1], std::ios::binary);
  const Plan plan{std::istreambuf_iterator<char>(file), {}};
  std::mt19937 random(static_cast<unsigned>(std::atoi(arguments[2])));
  const auto table = Table::parse(plan.data(), plan.size());
  VelocityEstimator estimator(Part(table).at("estimation"));
  const auto updates = std::atoi(arguments[3]);
  live(estimator, random, updates);
  for (std::size_t size = 0; size < plan.size(); ++size) {
    if (!is_refused({plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(size)}, random)) {
      std::printf("accepted %zu of %zu bytes\n", size, plan.size());
      return 1;
    }
  }
  for (int i = 0; i < updates / 10; ++i) {
    auto damaged = plan;
    damaged[random() % plan.size()] = static_cast<std::uint8_t>(random());
    is_refused(damaged, random);
  }
  std::printf("%ld allocations\n", allocations);
  return allocations == 0 ? 0 : 1;
}
