// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// walk PLAN DIGEST MODEL LIBRARY: stands up, then walks. It reads the sensors of a Lite3 from the
// standard input and writes the targets of its drives to the standard output, once per tick;
// lite3.py simulates the robot.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "policy_core/controller.hpp"
#include "policy_core/onnx_runner.hpp"

using namespace policy_core;

struct {
  std::int64_t time_ns;
  double joint_pos[12], joint_vel[12], quat_xyzw[4], ang_vel_body[3];
  std::array<double, 3> velocity_command;
} sensors;

int main(int count, char** arguments) try {
  if (count != 5) throw PlanError("usage: walk PLAN DIGEST MODEL LIBRARY");
  const auto plan = Table::open(arguments[1], arguments[2]);
  std::ifstream file(arguments[3], std::ios::binary);
  const std::vector<std::uint8_t> model{std::istreambuf_iterator<char>(file), {}};
  const OnnxRunner onnx(arguments[4], model.data(), model.size());
  const auto clock = [](void*) { return sensors.time_ns; };  // on hardware: the steady clock
  Controller controller(plan, {{"", &onnx.runner()}}, clock, nullptr);
  auto& state = controller.state();
  const auto position = state.find("joint_pos", 12), velocity = state.find("joint_vel", 12);
  const auto quat = state.find("quat_xyzw", 4), gyro = state.find("ang_vel_body", 3);
  const auto period_ns = Part(plan).integer("safe.period_ns");
  bool stands = false, runs = false;
  controller.start();
  while (std::fread(&sensors, sizeof sensors, 1, stdin) == 1) {
    const auto now_ns = sensors.time_ns;
    const auto problem =
        controller.joint_check().judge({sensors.joint_pos, 12}, {sensors.joint_vel, 12}, now_ns);
    // The controller does not check the joints again: it acts on what is written here.
    if (problem.code == JointCheck::Problem::Code::kNone) {
      for (std::size_t i = 0; i < controller.input_count(); ++i) {
        auto& input = controller.input(i);
        if (input.is_new(now_ns, now_ns)) input.accept(now_ns, now_ns, now_ns);
      }
      std::copy_n(sensors.joint_pos, position.size, position.begin());
      std::copy_n(sensors.joint_vel, velocity.size, velocity.begin());
    }
    std::copy_n(sensors.quat_xyzw, quat.size, quat.begin());
    std::copy_n(sensors.ang_vel_body, gyro.size, gyro.begin());
    controller.command().set(sensors.velocity_command, now_ns);
    // Each is requested until it is granted, then never again: after a fault the robot stays
    // damped.
    if (!stands) stands = !controller.stand().any();
    if (!runs && controller.mode() == Mode::kReady) runs = !controller.run().any();
    const auto& result = controller.tick(now_ns, now_ns + period_ns);
    if (!result.targets) throw PlanError("no targets: the fault behavior needs a pose first");
    std::fwrite(result.targets->block().data(), sizeof(double), 6 * 12, stdout);
    std::fflush(stdout);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
