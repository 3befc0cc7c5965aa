// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// tick_check PLAN SEED TICKS: drives a controller through samples, requests and faults at random.
// Ends with 1 where a tick allocates or commands what is not finite; sanitizers find the rest.
// Chunks come from a thread, while ticks go on.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>
#include <utility>

#include "policy_core/controller.hpp"

namespace {
thread_local bool counting = false;
thread_local long allocations = 0;
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Of the whole process, C and C++ alike; a sanitizer has its own.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  if (counting) ++allocations;
  return __libc_malloc(size);
}
#endif

namespace {

using namespace policy_core;

std::int64_t now_ns = 10'000'000'000, late_ns = 0;
constexpr std::int64_t kPeriodNs = 20'000'000;
constexpr auto kPause = std::chrono::microseconds(20);

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

/// Answers with chunks at random, some of which are errors, in a thread of its own.
class Inference {
 public:
  Inference(ChunkPolicy& policy, unsigned seed)
      : request_(policy.request_like()), thread_([this, &policy, seed] {
          compute(policy.exchange(), seed);
        }) {}
  ~Inference() {
    ends_ = true;
    thread_.join();
  }

 private:
  void compute(ChunkExchange& exchange, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> value(0.0, 0.02);
    while (!ends_) {
      if (!exchange.fetch(request_)) {
        std::this_thread::sleep_for(kPause);
        continue;
      }
      auto& answer = exchange.answer();
      answer.began_ns = answer.ended_ns = request_.asked_ns;
      answer.kind = random() % 20 ? ChunkOutcome::Kind::kChunk : ChunkOutcome::Kind::kRobotError;
      answer.chunk.count = answer.chunk.capacity();
      for (auto& each : answer.chunk.values) each = value(random);
      exchange.hand_over();
    }
  }

  ChunkRequest request_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

void see(ChunkPolicy& policy, std::mt19937& random) {
  std::array<std::uint8_t, 144> image{};
  image[0] = static_cast<std::uint8_t>(random() % 3);
  for (std::size_t i = 0; i < policy.sync().cameras(); ++i) {
    policy.sync().frames(i).add(image.data(), image.size(), now_ns - kPeriodNs * (random() % 3));
  }
}

void sample(Controller& controller, std::mt19937& random, const Numbers& pose) {
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
}

void ask(Controller& controller, std::mt19937& random, std::int64_t states) {
  const auto chance = random() % 1000;
  if (controller.mode() == Mode::kDamp) controller.reset();
  if (controller.mode() == Mode::kDamp) controller.stand();
  if (controller.mode() == Mode::kReady) controller.run();
  if (chance < 2) controller.press_estop(1);
  if (chance == 3) controller.driver_stopped(1);
  if (chance == 4) controller.damp(1);
  if (auto* set = controller.policy_set(); set && controller.mode() == Mode::kRun && chance > 950) {
    set->ask(static_cast<std::int64_t>(chance) % states);
  }
  if (auto* person = controller.person()) {
    if (chance > 970) person->take_over(controller.mode());
    if (chance < 20) person->hand_back(controller.mode());
  }
}

/// Whether an allocation is counted where there is no sanitizer.
bool counts() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
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
  std::ifstream file(arguments[1], std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  const auto table = Table::parse(reinterpret_cast<const std::uint8_t*>(content.data()),
                                  content.size());
  const auto seed = static_cast<unsigned>(std::atoi(arguments[2]));
  const Part plan(table);
  std::deque<Model> models;
  Models runners;
  const auto policy = plan.at("run").at("policy");
  std::string arm;
  for (const auto& member : policy.list("members")) {
    if (member.at("policy").has_part("queue")) {
      arm = member.text("name");
      continue;
    }
    models.emplace_back().open(member.at("policy"), seed + 1);
    runners.emplace_back(member.text("name"), &models.back().runner);
  }
  const bool is_chunk = policy.has_part("queue") || policy.has_part("check");
  if (models.empty() && !is_chunk) {
    models.emplace_back().open(policy, seed + 1);
    runners.emplace_back("", &models.back().runner);
  }
  Controller controller(
      table, runners, [](void*) { return now_ns + late_ns; }, nullptr);
  const auto& poses = plan.at("stand").numbers("poses");
  const auto joints = controller.target().size();
  const Numbers pose(poses.end() - static_cast<std::ptrdiff_t>(joints), poses.end());
  std::mt19937 random(seed);
  auto* chunks = controller.chunk_policy(arm);
  std::optional<Inference> inference;
  if (chunks) inference.emplace(*chunks, seed);
  const auto states = static_cast<std::int64_t>(policy.list("states").size());
  long ran = 0;
  for (int i = 0; i < std::atoi(arguments[3]); ++i) {
    now_ns += kPeriodNs;
    late_ns = 0;
    sample(controller, random, pose);
    if (chunks) {
      see(*chunks, random);
      std::this_thread::sleep_for(kPause);
    }
    ask(controller, random, states);
    counting = true;
    const auto& result = controller.tick(now_ns, now_ns + kPeriodNs);
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
