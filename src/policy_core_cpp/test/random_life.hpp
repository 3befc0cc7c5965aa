// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Models and chunks with random answers, and functions that drive a controller through a random
// life.

#include <cmath>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "policy_core/controller.hpp"

namespace policy_core {

constexpr std::int64_t kPeriodNs = 20'000'000;
inline std::int64_t now_ns = 10'000'000'000, late_ns = 0;

/// A model that answers with random numbers, and is late or fails now and then.
struct Model {
  std::deque<std::string> names;
  std::deque<std::vector<float>> arrays;
  std::vector<policy_core_tensor> inputs, outputs;
  policy_core_runner runner{};
  std::minstd_rand random;

  void add(std::vector<policy_core_tensor>& tensors, const std::string& name, std::size_t size) {
    names.push_back(name);
    arrays.emplace_back(size);
    tensors.push_back(
        {names.back().c_str(), arrays.back().data(), size, POLICY_CORE_FLOAT32});
  }

  void open(const Part& plan, unsigned seed) {
    random.seed(seed);
    for (const auto& part : plan.list("observations")) {
      const auto size = part.has_part("history") ? part.at("history").integers("order").size()
                                                 : part.integers("index").size();
      add(inputs, part.text("input"), size);
    }
    const auto action = plan.at("action");
    const auto actions = action.numbers("low").size();
    add(outputs, action.text("output"), actions);
    if (action.has_part("gain_outputs")) {
      for (const auto& name : action.at("gain_outputs").texts("outputs")) {
        add(outputs, name, actions);
      }
    }
    for (const auto& pair : plan.list("recurrent")) {
      const auto size = pair.has("initial") ? pair.numbers("initial").size() : 1;
      add(inputs, pair.text("input"), size);
      add(outputs, pair.text("output"), size);
    }
    runner = {this, inputs.data(), inputs.size(), outputs.data(), outputs.size(),
              [](void* context) -> long {
                auto& self = *static_cast<Model*>(context);
                std::uniform_real_distribution<float> value(-1.0F, 1.0F);
                for (auto& output : self.outputs) {
                  for (std::size_t i = 0; i < output.count; ++i) {
                    static_cast<float*>(output.data)[i] = value(self.random);
                  }
                }
                const auto chance = self.random() % 1000;
                if (chance < 5) late_ns = 50'000'000;
                return chance < 10 ? 1 : 0;
              },
              nullptr};
  }
};

/// The chunk policy of a controller; null if there is none.
inline ChunkPolicy* chunks_of(Controller& controller) {
  if (auto* alone = controller.chunk_policy("")) return alone;
  auto* set = controller.policy_set();
  for (std::size_t i = 0; set && i < set->members().size(); ++i) {
    if (auto* member = set->members()[i]->as_chunk()) return &member->policy();
  }
  return nullptr;
}

/// Answers a chunk policy's requests with random chunks, and some with errors.
class RandomChunks {
 public:
  RandomChunks(ChunkPolicy& policy, unsigned seed)
      : exchange_(policy.exchange()), request_(policy.request_like()), random_(seed) {}

  /// Answers the waiting request; returns false if there is none.
  bool answer() {
    if (!exchange_.fetch(request_)) return false;
    std::normal_distribution<double> value(0.0, 0.02);
    auto& answer = exchange_.answer();
    answer.began_ns = answer.ended_ns = request_.asked_ns;
    answer.kind = random_() % 20 ? ChunkOutcome::Kind::kChunk : ChunkOutcome::Kind::kRobotError;
    answer.chunk.count = answer.chunk.capacity();
    for (auto& each : answer.chunk.values) each = value(random_);
    exchange_.hand_over();
    return true;
  }

 private:
  ChunkExchange& exchange_;
  ChunkRequest request_;
  std::mt19937 random_;
};

inline void see(ChunkPolicy& policy, std::mt19937& random) {
  std::array<std::uint8_t, 144> image{};
  image[0] = static_cast<std::uint8_t>(random() % 3);
  for (std::size_t i = 0; i < policy.sync().cameras(); ++i) {
    policy.sync().frames(i).add(image.data(), image.size(), now_ns - kPeriodNs * (random() % 3));
  }
}

inline void sample(Controller& controller, std::mt19937& random, const Numbers& pose) {
  std::normal_distribution<double> noise(0.0, 0.01);
  auto& state = controller.state();
  const auto position = state.find("joint_pos");
  for (std::size_t i = 0; i < position.size; ++i) position[i] = pose[i] + noise(random);
  for (const auto* name : {"joint_vel", "ang_vel_body", "quat_xyzw", "pos_world", "external:goal",
                           "leader_joint_pos"}) {
    for (auto& value : state.find(name)) value = noise(random);
  }
  const auto quat = state.find("quat_xyzw");
  if (quat.size) quat[3] = 1.0;
  controller.joint_check().judge(position, state.find("joint_vel"), now_ns);
  controller.command().set({noise(random) * 50.0, 0.0, 0.1}, now_ns);
  for (std::size_t i = 0; i < controller.input_count(); ++i) {
    if (random() % 100 == 0) continue;
    if (controller.input(i).is_new(now_ns, now_ns)) {
      controller.input(i).accept(now_ns, now_ns, now_ns);
    }
  }
  if (auto* chunks = chunks_of(controller)) see(*chunks, random);
}

inline void ask(Controller& controller, std::mt19937& random) {
  const auto chance = random() % 1000;
  if (controller.mode() == Mode::kDamp) controller.reset();
  if (controller.mode() == Mode::kDamp) controller.stand();
  if (controller.mode() == Mode::kReady) controller.run();
  if (chance < 2) controller.press_estop(1);
  if (chance == 3) controller.driver_stopped(1);
  if (chance == 4) controller.damp(1);
  if (auto* set = controller.policy_set(); set && controller.mode() == Mode::kRun && chance > 950) {
    set->ask(static_cast<std::int64_t>(chance % 4));
  }
  if (auto* person = controller.person()) {
    if (chance > 970) person->take_over(controller.mode());
    if (chance < 20) person->hand_back(controller.mode());
  }
}

/// The models of a plan, except those of chunk policies; must outlive the controller.
struct RandomModels {
  std::deque<Model> models;
  Models runners;

  RandomModels(const Table& table, unsigned seed) {
    const auto policy = Part(table).at("run").at("policy");
    for (const auto& member : policy.list("members")) {
      if (member.at("policy").has_part("queue")) continue;
      models.emplace_back().open(member.at("policy"), seed + 1);
      runners.emplace_back(member.text("name"), &models.back().runner);
    }
    if (!models.empty() || policy.has_part("queue") || policy.has_part("check")) return;
    models.emplace_back().open(policy, seed + 1);
    runners.emplace_back("", &models.back().runner);
  }
};

inline std::int64_t read_clock(void*) { return now_ns + late_ns; }

inline std::vector<std::uint8_t> content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The stand pose in the plan of a controller.
inline Numbers stand_pose(const Table& table, const Controller& controller) {
  const auto& poses = Part(table).at("stand").numbers("poses");
  return {poses.end() - static_cast<std::ptrdiff_t>(controller.target().size()), poses.end()};
}

/// Advances to the next tick, with random samples and requests.
inline void live(Controller& controller, std::mt19937& random, const Numbers& pose) {
  now_ns += kPeriodNs;
  late_ns = 0;
  sample(controller, random, pose);
  ask(controller, random);
}

}  // namespace policy_core
