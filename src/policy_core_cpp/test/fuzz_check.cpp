// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// fuzz_check PLAN SEED MUTATIONS: reads truncations of a plan, all of a small one, and damaged
// copies. Each is a PlanError or a controller that ticks; sanitizers find the rest. Else it ends
// with 1.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "random_life.hpp"

/// An allocation that a few kB of plan do not explain throws.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=32";
}

namespace {

using namespace policy_core;
using Plan = std::vector<std::uint8_t>;

/// Whether a file is opened as the plan of a bundle.
bool opens(const std::string& path, const std::string& digest) try {
  Table::open(path, digest);
  return true;
} catch (const PlanError&) {
  return false;
}

/// Where a small integer stands: a count, a length, a place in an array, a flag.
std::vector<std::size_t> integers_of(const Plan& plan) {
  std::vector<std::size_t> places;
  for (std::size_t i = 40; i + sizeof(std::uint64_t) <= plan.size(); ++i) {
    std::uint64_t value;
    std::memcpy(&value, plan.data() + i, sizeof value);
    if (value < 1000) places.push_back(i);
  }
  return places;
}

void damage(Plan& plan, const std::vector<std::size_t>& integers, std::mt19937& random) {
  constexpr std::int64_t kValues[] = {0,         1,         2,         5,       255,
                                      1 << 16,   1 << 20,   1LL << 40, -1,      -2,
                                      INT32_MAX, INT64_MAX, INT64_MIN, 1LL << 49};
  const auto any = [&](std::size_t size) { return random() % size; };
  for (auto left = 1 + any(3); left > 0; --left) {
    switch (any(8)) {
      case 0:
        plan[any(plan.size())] ^= static_cast<std::uint8_t>(1u << any(8));
        break;
      case 1: {
        const auto size = std::min<std::size_t>(plan.size() - 1, any(64));
        const auto begin = plan.begin() + static_cast<std::ptrdiff_t>(any(plan.size() - size));
        plan.erase(begin, begin + static_cast<std::ptrdiff_t>(size));
        return;
      }
      default: {
        const auto value = kValues[any(std::size(kValues))];
        std::memcpy(plan.data() + integers[any(integers.size())], &value, sizeof value);
      }
    }
  }
}

/// Writes the checksum, so that more than this is checked.
Plan sealed(Plan plan) {
  if (plan.size() < sizeof(std::uint32_t)) return plan;
  const auto size = plan.size() - sizeof(std::uint32_t);
  const auto crc = crc32(plan.data(), size);
  std::memcpy(plan.data() + size, &crc, sizeof crc);
  return plan;
}

/// Returns whether it was refused; lets what lives on live for some ticks.
bool is_refused(const Plan& plan, const RandomModels& models, std::mt19937& random) try {
  const auto table = Table::parse(plan.data(), plan.size());
  Controller controller(table, models.runners, read_clock, nullptr);
  const auto pose = stand_pose(table, controller);
  std::optional<RandomChunks> answers;
  if (auto* chunks = chunks_of(controller)) answers.emplace(*chunks, 1);
  controller.start();
  for (int i = 0; i < 50; ++i) {
    live(controller, random, pose);
    controller.tick(now_ns, now_ns + kPeriodNs);
    if (answers) answers->answer();
  }
  return false;
} catch (const PlanError&) {
  return true;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 4) return 2;
  const auto plan = content_of(arguments[1]);
  const auto seed = static_cast<unsigned>(std::atoi(arguments[2]));
  const auto table = Table::parse(plan.data(), plan.size());
  const std::string path = arguments[1], other(64, 'f');
  if (!opens(path, table.digest()) || opens(path, other) || opens(path + "x", table.digest())) {
    std::printf("expected a plan that opens with its own digest alone\n");
    return 1;
  }
  const RandomModels models(table, seed);
  std::mt19937 random(seed);
  if (is_refused(plan, models, random)) return 1;
  const auto step = plan.size() < 6000 ? 1 : plan.size() / 1000;
  for (std::size_t size = 0; size < plan.size(); size += step) {
    const Plan beginning{plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(size)};
    if (!is_refused(sealed(beginning), models, random)) {
      std::printf("accepted %zu of %zu bytes\n", size, plan.size());
      return 1;
    }
  }
  const auto integers = integers_of(plan);
  const auto mutations = std::atoi(arguments[3]);
  int refused = 0;
  for (int i = 0; i < mutations; ++i) {
    auto damaged = plan;
    damage(damaged, integers, random);
    if (damaged != plan && !is_refused(damaged, models, random)) {
      std::printf("accepted a plan with a wrong checksum\n");
      return 1;
    }
    refused += is_refused(sealed(damaged), models, random);
  }
  std::printf("%d of %d damaged plans refused\n", refused, mutations);
  return refused < mutations ? 0 : 1;
} catch (const std::exception& error) {
  std::printf("%s\n", error.what());
  return 1;
}
