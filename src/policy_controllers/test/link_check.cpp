// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// link_check STEPS DURATION_NS COMMAND WORD...: starts the simulated robot WORD..., sends it the
// numbers of the file COMMAND (doubles, all rows; no such file: no command) STEPS times, and writes
// what it shows at the end: time, samples of the joints and of the IMU as doubles, then the values.
// Ends with 1 where the link fails, and with 3 where an exchange allocates.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>

#include "allocations.hpp"
#include "policy_controllers/sim_link.hpp"

using policy_controllers::SimLink;

int main(int count, char** arguments) try {
  if (count < 5 || !counts()) return 2;
  const auto steps = std::atol(arguments[1]), duration_ns = std::atol(arguments[2]);
  const std::vector<std::string> words(arguments + 4, arguments + count);
  SimLink link(words, std::chrono::seconds(60), std::chrono::seconds(10));
  const auto joints = link.joints().size();
  std::ifstream file(arguments[3], std::ios::binary);
  const auto size = static_cast<std::streamsize>(SimLink::kCommands * joints * sizeof(double));
  const bool is_commanded =
      bool(file.read(reinterpret_cast<char*>(link.command(SimLink::kPosition)), size));
  counting = true;
  for (long i = 0; i < steps; ++i) {
    link.send(duration_ns, is_commanded);
    link.receive();
  }
  counting = false;
  if (allocations) return 3;
  const double head[] = {static_cast<double>(link.time_ns()),
                         static_cast<double>(link.samples(SimLink::kJoints)),
                         static_cast<double>(link.samples(SimLink::kBody))};
  std::fwrite(head, sizeof(double), 3, stdout);
  std::fwrite(link.state(0), sizeof(double), SimLink::kStates * joints + SimLink::kImu, stdout);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
