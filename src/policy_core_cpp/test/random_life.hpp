// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A controller with models that answer at random, and what drives it through a random life.

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

/// Answers with numbers at random, and fails now and then.
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
    add(outputs, action.text("output"), action.numbers("low").size());
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

inline void sample(Controller& controller, std::mt19937& random, const Numbers& pose) {
  std::normal_distribution<double> noise(0.0, 0.01);
  auto& state = controller.state();
  const auto position = state.find("joint_pos");
  for (std::size_t i = 0; i < position.size; ++i) position[i] = pose[i] + noise(random);
  for (const auto* name : {"joint_vel", "ang_vel_body", "quat_xyzw", "pos_world"}) {
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
    set->ask(static_cast<std::int64_t>(chance % 3));
  }
}

/// The models of a plan; they must outlive what runs on them.
struct RandomModels {
  std::deque<Model> models;
  Models runners;

  RandomModels(const Table& table, unsigned seed) {
    const auto policy = Part(table).at("run").at("policy");
    for (const auto& member : policy.list("members")) {
      models.emplace_back().open(member.at("policy"), seed + 1);
      runners.emplace_back(member.text("name"), &models.back().runner);
    }
    if (!models.empty()) return;
    models.emplace_back().open(policy, seed + 1);
    runners.emplace_back("", &models.back().runner);
  }
};

inline std::int64_t read_clock(void*) { return now_ns + late_ns; }

inline std::vector<std::uint8_t> content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Of a plan that a controller was made of.
inline Numbers stand_pose(const Table& table, const Controller& controller) {
  const auto& poses = Part(table).at("stand").numbers("poses");
  return {poses.end() - static_cast<std::ptrdiff_t>(controller.target().size()), poses.end()};
}

/// Begins the next tick: samples and requests.
inline void live(Controller& controller, std::mt19937& random, const Numbers& pose) {
  now_ns += kPeriodNs;
  late_ns = 0;
  sample(controller, random, pose);
  ask(controller, random);
}

}  // namespace policy_core
