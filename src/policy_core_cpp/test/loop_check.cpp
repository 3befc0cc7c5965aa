// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// loop_check PLAN SEED TICKS: a loop ticks while other threads ask, press the e-stop and look at its
// records. Ends with 1 where a record is missing or out of order, or a command is not finite;
// sanitizers find the rest.

#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>

#include "policy_core/loop.hpp"
#include "policy_core/snapshot.hpp"
#include "random_life.hpp"

namespace {

using namespace policy_core;

constexpr std::size_t kValuesAt = 16;
std::atomic<long> published{0};
std::atomic<bool> is_finite_all{true};

template <class T>
void add(std::vector<std::uint8_t>& bytes, T value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

void add(std::vector<std::uint8_t>& bytes, const std::string& text) {
  add(bytes, static_cast<std::uint32_t>(text.size()));
  bytes.insert(bytes.end(), text.begin(), text.end());
}

void add_integers(std::vector<std::uint8_t>& bytes, const std::string& name,
                  const std::vector<std::int64_t>& values) {
  add(bytes, name);
  add(bytes, 'q');
  add(bytes, static_cast<std::uint64_t>(values.size()));
  for (auto value : values) add(bytes, value);
}

/// The plan of an output of positions, as policy_core.plan writes it.
Table output_plan(std::size_t joints) {
  std::vector<std::uint8_t> bytes{'P', 'O', 'L', 'P', 'L', 'A', 'N', '3'};
  bytes.resize(bytes.size() + 32);
  add(bytes, std::uint32_t{4});
  add(bytes, std::string("kind"));
  add(bytes, 's');
  add(bytes, std::uint64_t{1});
  add(bytes, std::string("position_array"));
  std::vector<std::int64_t> message(kValuesAt + joints * sizeof(double), 0);
  message[1] = 1;  // little-endian
  add_integers(bytes, "message", message);
  add_integers(bytes, "values_at", {kValuesAt});
  add_integers(bytes, "damp_mode", {0});
  add(bytes, crc32(bytes.data(), bytes.size()));
  return Table::parse(bytes.data(), bytes.size());
}

Middleware middleware() {
  Middleware found{};
  found.take = [](const void*, Middleware::Message*, void*, void*) { return 401; };
  found.publish = [](const void*, const Middleware::Message* message, void*) {
    ++published;
    for (auto at = kValuesAt; at + sizeof(double) <= message->length; at += sizeof(double)) {
      double value = 0.0;
      std::memcpy(&value, message->buffer + at, sizeof value);
      if (!std::isfinite(value)) is_finite_all = false;
    }
    return 0;
  };
  found.reset_error = [] {};
  found.free_message = [](Middleware::Message*) { return 0; };
  found.clear = [](void*) { return 0; };
  found.add = [](void*, const void*, std::size_t*) { return 0; };
  // A message, nothing, and an error take turns.
  found.wait = [](void*, std::int64_t) {
    static std::atomic<int> waits{0};
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    return waits++ % 3;
  };
  return found;
}

std::int64_t steady(void*) {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const auto content = content_of(arguments[1]);
  const auto table = Table::parse(content.data(), content.size());
  const auto seed = static_cast<unsigned>(std::atoi(arguments[2]));
  const auto ticks = std::atol(arguments[3]);
  RandomModels models(table, seed);
  Host host(table, models.runners, steady, nullptr, {}, 64, 0);
  const auto joints = host.controller().target().size();
  const void* subscription = nullptr;
  const void** ready = &subscription;
  subscription = &ready;
  // Every other seed has a trigger.
  Loop loop(middleware(), {subscription}, nullptr,
            std::make_unique<CommandEncoder>(Part(output_plan(joints)), joints), 1'000'000,
            {0, seed % 2 ? &ready : nullptr});
  auto sampled = std::make_shared<Loop::Sampled>();
  sampled->host = &host;
  loop.host(sampled);
  std::atomic<bool> ends{false}, is_ordered{true};
  std::atomic<long> shown{0};
  std::thread observer([&] {
    std::int64_t last = -1;
    while (!ends || host.oldest()) {
      loop.wait(10'000'000);
      while (const auto* record = host.oldest()) {
        if (record->number <= last) is_ordered = false;
        last = record->number;
        ++shown;
        host.drop();
      }
    }
  });
  std::thread person([&] {
    std::mt19937 random(seed);
    const Numbers pose = stand_pose(table, host.controller());
    std::optional<RandomChunks> answers;
    if (auto* chunks = chunks_of(host.controller())) answers.emplace(*chunks, seed);
    while (!ends) {
      {
        const std::lock_guard between(loop.mutex());
        const std::lock_guard requests(host.mutex());
        now_ns = steady(nullptr);
        sample(host.controller(), random, pose);
        ask(host.controller(), random);
      }
      if (answers) answers->answer();
      if (random() % 50 == 0) {
        host.controller().press_estop(1);
        loop.send_safe(now_ns);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  loop.start();
  while (loop.ticks() < ticks) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const bool has_ended = loop.stop(1'000'000'000);
  ends = true;
  observer.join();
  person.join();
  const bool is_whole = shown + host.lost() == loop.ticks();
  std::printf("%ld ticks, %ld shown, %ld lost, %ld published\n", static_cast<long>(loop.ticks()),
              shown.load(), static_cast<long>(host.lost()), published.load());
  return has_ended && is_ordered && is_whole && is_finite_all && published > 0 ? 0 : 1;
}
