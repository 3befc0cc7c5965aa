// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// update_check PLAN RATE [COUNTED]...: has a policy ticked by updates that come on the standard
// input, with their time; test_policy_update.py is the manager. COUNTED: groups of one counter.
// Ends with 1 where a plan is refused, and with 3 where an update allocates, less what the models do.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include "allocations.hpp"
#include "policy_controllers/policy_update.hpp"

using namespace policy_controllers;

namespace {

/// What comes before the bytes of a message.
struct Head {
  std::int64_t kind, now_ns, ros_now_ns, size;
};

/// `late_ns`: how much later it is once the clock has been read in an update.
struct Time {
  std::atomic<std::int64_t> now_ns{0}, late_ns{0};
  std::atomic<bool> was_read{false};

  static std::int64_t read(void* context) {
    auto& self = *static_cast<Time*>(context);
    return self.now_ns + (self.was_read.exchange(true) ? self.late_ns.load() : 0);
  }
};

/// Keeps ticks out until the end, as a request does whose thread waits.
class Keeper {
 public:
  explicit Keeper(PolicyUpdate& policy) : thread_([this, &policy] {
    const auto lock = policy.between_ticks();
    begun_.set_value();
    ends_.get_future().wait();
  }) {
    begun_.get_future().wait();
  }
  ~Keeper() {
    ends_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> begun_, ends_;
  std::thread thread_;
};

/// Asks, reports and commands in a thread of its own, again and again.
class Others {
 public:
  explicit Others(PolicyUpdate& policy) : thread_([this, &policy] {
    for (int i = 0; !ends_.load(); ++i) {
      policy.hear({0.1, 0.0, 0.0}, {});
      for (std::size_t place = 0; place < policy.facts().perceived.size(); ++place) {
        policy.hear(place, "", std::vector<double>(policy.facts().perceived[place].size),
                    i % 5 ? "" : "no map", {});
      }
      policy.reason(policy.report());
      policy.log();
      policy.durations();
      if (i % 7 == 0) policy.stand();
      if (i % 3 == 0) policy.run();
      if (i % 501 == 0) policy.damp();
      if (i % 703 == 0) policy.press_estop("another thread");
      if (i % 709 == 0) policy.reset();
      policy.switch_to(i % 2 ? "crouch" : "walk");
      std::this_thread::yield();
    }
  }) {}
  ~Others() {
    ends_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

void answer(const void* data, std::size_t size) {
  const auto bytes = static_cast<std::int64_t>(size);
  std::fwrite(&bytes, sizeof bytes, 1, stdout);
  std::fwrite(data, 1, size, stdout);
  std::fflush(stdout);
}

void answer(const std::string& text) { answer(text.data(), text.size()); }

void answer(const policy_core::Targets* targets) {
  std::vector<double> found{-1.0};
  if (targets) {
    found[0] = static_cast<double>(targets->mode);
    found.insert(found.end(), targets->block().begin(), targets->block().end());
  }
  answer(found.data(), found.size() * sizeof(double));
}

/// `name: value` in lines.
std::string status_of(PolicyUpdate& policy) {
  const auto report = policy.report();
  std::string text = "mode: " + std::string(policy_core::Words::mode(report.mode)) +
                     "\nlatched: " + (report.latched ? "True" : "False") +
                     "\nreason: " + policy.reason(report) +
                     "\nticks: " + std::to_string(report.ticks) +
                     "\nmissed: " + std::to_string(report.missed) +
                     "\nwaited: " + std::to_string(report.waited);
  for (std::size_t i = 0; i < report.counters.size(); ++i) {
    text += "\ncounter " + policy.words().rule(i) + ": " + std::to_string(report.counters[i]);
  }
  for (const auto& input : report.inputs) {
    text += "\ninput " + input.name + ": " + policy.problem(input);
  }
  if (report.set) {
    text += "\nstate: " + policy.words().state(report.set->state) +
            "\nasked: " + policy.words().state(report.set->asked) +
            "\nrefused: " + policy.words().switch_refusal(report.set->refused) +
            "\nswitches: " + std::to_string(report.set->switches);
  }
  for (const auto& line : policy.log()) {
    text += std::string("\nlog ") + (line.is_error ? "error" : "info") + ": " + line.text;
  }
  return text;
}

/// Values: how many bytes the names have, s between two steps, steps, how many numbers follow; these;
/// then the names, a line each.
std::string hear(PolicyUpdate& policy, const std::vector<double>& values,
                 const std::vector<char>& bytes, std::int64_t age_ns) {
  const auto size = static_cast<std::ptrdiff_t>(values[3]);
  const std::vector<double> data(values.begin() + 4, values.begin() + 4 + size);
  std::istringstream lines({bytes.end() - static_cast<std::ptrdiff_t>(values[0]), bytes.end()});
  std::vector<std::string> names;
  for (std::string name; std::getline(lines, name);) names.push_back(name);
  return policy.hear(
      Chunk{names, values[1], static_cast<std::size_t>(values[2]), data, age_ns});
}

/// Values: place, how many bytes label and problem have; what is perceived; then these two.
void hear_perceived(PolicyUpdate& policy, const std::vector<double>& values,
                    const std::vector<char>& bytes, std::int64_t stamp_ns) {
  const auto label = static_cast<std::ptrdiff_t>(values[1]);
  const auto problem = static_cast<std::ptrdiff_t>(values[2]);
  const auto texts = static_cast<std::size_t>(label + problem);
  const auto end = static_cast<std::ptrdiff_t>((bytes.size() - texts) / sizeof(double));
  const auto middle = bytes.end() - problem;
  policy.hear(static_cast<std::size_t>(values[0]), {middle - label, middle},
              {values.begin() + 3, values.begin() + end}, {middle, bytes.end()},
              stamp_ns ? policy_core::Time(stamp_ns) : policy_core::Time());
}

std::string ask(PolicyUpdate& policy, const std::string& what) {
  if (what == "stand") return policy.stand();
  if (what == "run") return policy.run();
  if (what == "damp") return policy.damp();
  if (what == "reset") return policy.reset();
  if (what == "estop") {
    policy.press_estop("pressed by service");
    return policy.mode() == policy_core::Mode::kDamp ? "" : "expected DAMP";
  }
  return policy.switch_to(what.substr(std::strlen("switch ")));
}

/// Runs of models, by their contexts; a runtime may allocate.
std::map<void*, long (*)(void*)> runs;

/// Looks at ticks in a thread of its own; the next run of a model hangs until the e-stop is pressed.
class Watch {
 public:
  explicit Watch(PolicyUpdate& policy) : policy_(policy), thread_([this] {
    while (!ends_.load()) {
      policy_.look_at_tick(false);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }) {}
  ~Watch() {
    ends_ = true;
    thread_.join();
  }
  void hang() const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!policy_.estop_pressed() && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
  }

 private:
  PolicyUpdate& policy_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

std::optional<Watch> watch;

long run_uncounted(void* context) {
  const bool counted = std::exchange(counting, false);
  if (watch) watch->hang();
  const auto status = runs.at(context)(context);
  counting = counted;
  return status;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 3 || !counts()) return 2;
  Time time;
  PolicyUpdate policy(arguments[1], Time::read, &time);
  policy.set_update_rate(std::atof(arguments[2]));
  for (int i = 3; i < count; ++i) {
    std::vector<std::size_t> groups;
    for (const char* group = arguments[i]; *group; ++group) {
      groups.push_back(static_cast<std::size_t>(*group - '0'));
    }
    policy.count(groups);
  }
  for (const auto& [member, runner] : policy.models()) {
    runs[runner->context] = std::exchange(const_cast<policy_core_runner*>(runner)->run, run_uncounted);
  }
  std::optional<Keeper> keeper;
  std::optional<Others> others;
  Head head;
  std::vector<double> numbers;
  std::vector<char> bytes;
  while (std::fread(&head, sizeof head, 1, stdin) == 1) {
    bytes.resize(static_cast<std::size_t>(head.size));
    if (head.size && std::fread(bytes.data(), bytes.size(), 1, stdin) != 1) return 2;
    numbers.resize(bytes.size() / sizeof(double));
    if (!numbers.empty()) {
      std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(double));
    }
    time.now_ns = head.now_ns;
    time.was_read = false;
    switch (head.kind) {
      case 's':
        if (!policy.start()) return 2;
        break;
      case 'e':
        answer(policy.stop());
        break;
      case 'l':
        time.late_ns = head.ros_now_ns;
        break;
      case 'u':
      case 'c': {  // by a chained controller: vx, vy and yaw rate come first
        if (numbers.size() != policy.value_count() + 3) return 2;
        const Velocity velocity{numbers[0], numbers[1], numbers[2]};
        counting = true;
        const auto* targets = policy.update(
            numbers.data() + 3, head.kind == 'c' ? &velocity : nullptr, head.ros_now_ns);
        counting = false;
        if (allocations) return 3;
        answer(targets);
        break;
      }
      case 'v':
        policy.hear({numbers[0], numbers[1], numbers[2]},
                    head.ros_now_ns ? policy_core::Time(head.ros_now_ns) : policy_core::Time());
        break;
      case 'x':
        counting = true;
        policy.press_estop();
        counting = false;
        break;
      case 'p':
        hear_perceived(policy, numbers, bytes, head.ros_now_ns);
        break;
      case 'h':
        answer(hear(policy, numbers, bytes, head.ros_now_ns));
        break;
      case 'r':
        answer(ask(policy, {bytes.begin(), bytes.end()}));
        break;
      case 'k':
        keeper.emplace(policy);
        break;
      case 't':
        others.emplace(policy);
        break;
      case 'g':
        watch.emplace(policy);
        break;
      case 'f':
        keeper.reset();
        others.reset();
        watch.reset();
        break;
      case 'w':
        answer(status_of(policy));
        break;
      default:
        return 2;
    }
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
