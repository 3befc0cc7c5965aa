// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// message_check PLAN MESSAGES SEED DAMAGED: reads messages whole, cut off at each length, and
// damaged at random so many times. Ends with 1 where a whole one is refused or one allocates;
// sanitizers find the rest. MESSAGES: for each its reader and its size, uint32, and its bytes.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>

#include "allocations.hpp"
#include "policy_core/messages.hpp"

namespace {

using namespace policy_core;
using Message = std::vector<std::uint8_t>;

std::int64_t now_ns = 10'000'000'000;

Message content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Room for what a policy sees and answers; it is never asked.
struct Model {
  std::deque<std::vector<float>> arrays;
  std::vector<policy_core_tensor> inputs, outputs;
  policy_core_runner runner{};

  explicit Model(const Part& policy) {
    for (const auto& part : policy.list("observations")) {
      add(inputs, part.text("input"), part.integers("index").size());
    }
    const auto action = policy.at("action");
    add(outputs, action.text("output"), action.numbers("low").size());
    runner = {this, inputs.data(), inputs.size(), outputs.data(), outputs.size(),
              [](void*) { return 0L; }, nullptr};
  }

  void add(std::vector<policy_core_tensor>& tensors, const std::string& name, std::size_t size) {
    tensors.push_back({name.c_str(), arrays.emplace_back(size).data(), size, POLICY_CORE_FLOAT32});
  }
};

MessageVerdict take(MessageReader& reader, const std::uint8_t* data, std::size_t size) {
  now_ns += 1'000'000;
  counting = true;
  // State may come again, whatever its stamp.
  const auto verdict = reader.take(data, size, {now_ns, now_ns, true});
  counting = false;
  return verdict;
}

/// Reads a copy that ends where its memory does.
void take_exactly(MessageReader& reader, const Message& message, std::size_t size) {
  const Message copy(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
  take(reader, copy.data(), copy.size());
}

void damage(Message& message, std::mt19937& random) {
  for (auto left = 1 + random() % 3; left > 0; --left) {
    if (random() % 2) {
      message[random() % message.size()] = static_cast<std::uint8_t>(random());
    } else {
      const std::uint32_t counts[] = {0, 1, 255, 1u << 31, ~0u};
      const auto at = 4 * (random() % (message.size() / 4));
      std::memcpy(message.data() + at, &counts[random() % std::size(counts)], 4);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5 || !counts()) return 2;
  const auto plan = content_of(arguments[1]), messages = content_of(arguments[2]);
  std::mt19937 random(static_cast<unsigned>(std::atoi(arguments[3])));
  const auto table = Table::parse(plan.data(), plan.size());
  const Model model(Part(table).at("run").at("policy"));
  Controller controller(
      table, {{"", &model.runner}}, [](void*) { return now_ns; }, nullptr);
  std::vector<std::unique_ptr<MessageReader>> readers;
  for (const auto& part : Part(table).list("messages")) {
    readers.push_back(MessageReader::open(part, controller, 1));
  }
  for (std::size_t at = 0; at < messages.size();) {
    std::uint32_t head[2];
    std::memcpy(head, messages.data() + at, sizeof head);
    at += sizeof head;
    const auto* data = messages.data() + at;
    at += head[1];
    auto& reader = *readers[head[0]];
    const Message whole(data, data + head[1]);
    for (std::size_t size = 0; size <= whole.size(); ++size) take_exactly(reader, whole, size);
    for (int i = 0; i < std::atoi(arguments[4]); ++i) {
      auto damaged = whole;
      damage(damaged, random);
      take_exactly(reader, damaged, damaged.size());
    }
    constexpr int kTimes = 100'000;
    const auto began = std::chrono::steady_clock::now();
    auto verdict = MessageVerdict::kRefused;
    for (int i = 0; i < kTimes; ++i) verdict = take(reader, whole.data(), whole.size());
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    std::printf("%s: %.0f ns\n", reader.input().name().c_str(), took.count() / kTimes);
    if (verdict != MessageVerdict::kAccepted) return 1;
  }
  std::printf("%ld allocations\n", allocations);
  return allocations == 0 ? 0 : 1;
}
