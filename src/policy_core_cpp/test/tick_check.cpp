// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// tick_check PLAN SEED TICKS: drives a controller through samples, requests and faults at random.
// Ends with 1 where a tick allocates or commands what is not finite; sanitizers find the rest.

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "random_life.hpp"

namespace {
thread_local bool counting = false;
thread_local long allocations = 0;
}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif
#define NONBLOCKING
#if defined(__has_feature)
#if __has_feature(realtime_sanitizer)
#define SANITIZED
#undef NONBLOCKING
#define NONBLOCKING [[clang::nonblocking]]
#endif
#endif

#ifndef SANITIZED
// Of the whole process, C and C++ alike; a sanitizer has its own.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  if (counting) ++allocations;
  return __libc_malloc(size);
}
#endif

namespace {

using namespace policy_core;

/// A tick in which RealtimeSanitizer, where the program has it, allows no call that may block.
const TickResult& tick(Controller& controller) NONBLOCKING {
  return controller.tick(now_ns, now_ns + kPeriodNs);
}

/// Whether an allocation is counted where there is no sanitizer.
bool counts() {
#ifdef SANITIZED
  return true;
#else
  counting = true;
  void* volatile one = std::malloc(1);
  counting = false;
  std::free(one);
  return std::exchange(allocations, 0) == 1;
#endif
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4 || !counts()) return 2;
  const auto content = content_of(arguments[1]);
  const auto table = Table::parse(content.data(), content.size());
  const auto seed = static_cast<unsigned>(std::atoi(arguments[2]));
  const RandomModels models(table, seed);
  Controller controller(table, models.runners, read_clock, nullptr);
  const auto pose = stand_pose(table, controller);
  std::mt19937 random(seed);
  long ran = 0;
  for (int i = 0; i < std::atoi(arguments[3]); ++i) {
    live(controller, random, pose);
    counting = true;
    const auto& result = tick(controller);
    counting = false;
    ran += result.mode == Mode::kRun;
    if (!result.targets) continue;
    for (double value : result.targets->block()) {
      if (std::isfinite(value)) continue;
      std::printf("tick %d: a target that is not finite\n", i);
      return 1;
    }
  }
  std::printf("%ld ticks in RUN, %ld allocations\n", ran, allocations);
  return allocations == 0 && ran > 0 ? 0 : 1;
}
