// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// tick_check PLAN SEED TICKS: drives a controller through samples, requests and faults at random.
// Ends with 1 where a tick allocates or commands what is not finite; sanitizers find the rest.

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>

#include "allocations.hpp"
#include "policy_core/controller.hpp"

namespace {

using namespace policy_core;

std::int64_t now_ns = 10'000'000'000, late_ns = 0;

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

void sample(Controller& controller, std::mt19937& random, const Numbers& pose) {
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

void ask(Controller& controller, std::mt19937& random) {
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

}  // namespace

int main(int count, char** arguments) {
  if (count != 4 || !counts()) return 2;
  std::ifstream file(arguments[1], std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  const auto table = Table::parse(reinterpret_cast<const std::uint8_t*>(content.data()),
                                  content.size());
  const auto seed = static_cast<unsigned>(std::atoi(arguments[2]));
  const Part plan(table);
  std::deque<Model> models;
  Models runners;
  const auto policy = plan.at("run").at("policy");
  for (const auto& member : policy.list("members")) {
    models.emplace_back().open(member.at("policy"), seed + 1);
    runners.emplace_back(member.text("name"), &models.back().runner);
  }
  if (models.empty()) {
    models.emplace_back().open(policy, seed + 1);
    runners.emplace_back("", &models.back().runner);
  }
  Controller controller(
      table, runners, [](void*) { return now_ns + late_ns; }, nullptr);
  const auto& poses = plan.at("stand").numbers("poses");
  const auto joints = controller.target().size();
  const Numbers pose(poses.end() - static_cast<std::ptrdiff_t>(joints), poses.end());
  std::mt19937 random(seed);
  long ran = 0;
  for (int i = 0; i < std::atoi(arguments[3]); ++i) {
    now_ns += 20'000'000;
    late_ns = 0;
    sample(controller, random, pose);
    ask(controller, random);
    counting = true;
    const auto& result = controller.tick(now_ns, now_ns + 20'000'000);
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
