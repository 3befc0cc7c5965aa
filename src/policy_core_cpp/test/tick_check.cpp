// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// tick_check PLAN SEED TICKS: drives a controller through samples, requests and faults at random.
// Ends with 1 where a tick allocates or commands what is not finite; sanitizers find the rest.
// Chunks come from a thread, while ticks go on.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include "allocations.hpp"
#include "random_life.hpp"

namespace {

using namespace policy_core;

constexpr auto kPause = std::chrono::microseconds(20);

/// Computes chunks in a thread of its own.
class Inference {
 public:
  Inference(ChunkPolicy& policy, unsigned seed)
      : chunks_(policy, seed), thread_([this] {
          while (!ends_) {
            if (!chunks_.answer()) std::this_thread::sleep_for(kPause);
          }
        }) {}
  ~Inference() {
    ends_ = true;
    thread_.join();
  }

 private:
  RandomChunks chunks_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

const TickResult& tick(Controller& controller) NONBLOCKING {
  return controller.tick(now_ns, now_ns + kPeriodNs);
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
  std::optional<Inference> inference;
  if (auto* chunks = chunks_of(controller)) inference.emplace(*chunks, seed);
  long ran = 0;
  for (int i = 0; i < std::atoi(arguments[3]); ++i) {
    live(controller, random, pose);
    if (inference) std::this_thread::sleep_for(kPause);
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
