// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// link_check PYTHON PERIOD_NS EXCHANGES [ARGUMENT...]: holds the robot where it is first seen, with
// stiffness 30 and damping 1; writes what every exchange brought to the standard output.

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "policy_controllers/sim_link.hpp"

int main(int count, char** arguments) try {
  if (count < 4) return 2;
  policy_controllers::SimLink link(arguments[1], {arguments + 4, arguments + count});
  const auto joints = link.joints().size();
  for (const auto& name : link.joints()) std::fprintf(stderr, "%s\n", name.c_str());
  const auto period_ns = std::atoll(arguments[2]);
  for (long i = 0; i <= std::atol(arguments[3]); ++i) {
    if (!link.exchange(i ? period_ns : 0, i > 0)) return 3;
    if (i == 0) {
      for (std::size_t j = 0; j < joints; ++j) {
        link.command()[j] = link.sensed()[j];
        link.command()[3 * joints + j] = 30.0;
        link.command()[4 * joints + j] = 1.0;
      }
    }
    const double head[] = {static_cast<double>(link.time_ns()),
                           static_cast<double>(link.joint_samples()),
                           static_cast<double>(link.imu_samples())};
    std::fwrite(head, sizeof(double), 3, stdout);
    std::fwrite(link.sensed().data(), sizeof(double), link.sensed().size(), stdout);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
