// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// A control loop around the bundle `lite3_walk`: a starting point for your own. Replace `Robot`
// with your hardware.
//
// Every period it takes one observation from sensors of different rates, asks the policy, and
// commands the joints. No old command is held forever: if the last action is older than
// max_action_age, a sensor is silent, or an action is abnormal, it damps, reports why, and keeps
// damping: a person must restart a robot that has sunk to the floor. It also damps when it ends, on
// any signal that can be caught. A process that is killed or stopped by force cannot damp: drives
// need their own time limit for the last command.
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "bounded_log.hpp"
#include "policy_client/observation_buffer.hpp"
#include "policy_client/policy_source.hpp"

namespace {

using namespace std::chrono_literals;

// From config/bundles/lite3_walk/policy.yaml; each for HipX, HipY and Knee of four legs.
constexpr std::size_t joint_count = 12;
constexpr float default_rad[] = {0.0F, -0.65F, 1.30F};
constexpr float action_scale[] = {0.125F, 0.25F, 0.25F};
constexpr float least_rad[] = {-0.523F, -2.67F, 0.524F};
constexpr float most_rad[] = {0.523F, 0.314F, 2.792F};

constexpr auto period = 20ms;
constexpr auto max_action_age = 60ms;  // Three periods: one late answer is not a reason to stop.
constexpr auto report_period = 1s;

std::atomic<bool> ends{false};

std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void sleep_until(std::int64_t at_ns) {
  const timespec at{static_cast<time_t>(at_ns / 1'000'000'000),
                    static_cast<long>(at_ns % 1'000'000'000)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR && !ends) {
  }
}

/// Real-time settings of the machine; if refused, it reports that and continues.
void become_real_time(int priority, int cpu, BoundedLog& log) {
  const auto say = [&log](const char* what, const char* remedy) {
    log.say("%s: %s; %s", what, std::strerror(errno), remedy);
  };
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    say("memory is not locked, page faults may delay a tick", "allow it: ulimit -l unlimited");
  }
  if (priority > 0) {
    sched_param given{};
    given.sched_priority = priority;
    if (::sched_setscheduler(0, SCHED_FIFO, &given) != 0) {
      say("no SCHED_FIFO, other threads may delay a tick",
          "allow it: ulimit -r 99, or CAP_SYS_NICE");
    }
  }
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
      say("not pinned to its CPU", "choose one that the machine has");
    }
  }
}

/// Ends the loop, which damps, on every signal of a terminal, a shell or a service manager: a loop
/// stopped by Ctrl-Z controls nothing either. A log that nothing reads is not a reason to end.
void handle_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { ends = true; };
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGXCPU}) {
    ::sigaction(signal, &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  for (const int signal : {SIGPIPE, SIGTTOU}) ::sigaction(signal, &action, nullptr);
}

/// Joints that follow their targets, and a body at rest: the part to replace.
class Robot {
 public:
  /// The streams, in the order of the observation's terms.
  explicit Robot(policy_client::ObservationBuffer& buffer) : buffer_(buffer) {
    using policy_client::Between;
    imu_ = buffer_.add({"imu", 6, 20ms, Between::hold, 64});
    command_ = buffer_.add({"velocity command", 3, 500ms, Between::hold, 16});
    joints_ = buffer_.add({"joints", 2 * joint_count, 10ms, Between::linear, 64});
  }

  ~Robot() {
    damp();
    ends = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Robot(const Robot&) = delete;
  Robot& operator=(const Robot&) = delete;

  void start() {
    threads_.emplace_back([this] { repeat(2ms, [this] { write_imu(); }); });
    threads_.emplace_back([this] { repeat(100ms, [this] { write_command(); }); });
    threads_.emplace_back([this] { repeat(1ms, [this] { move_joints(); }); });
  }

  void command(const float* targets_rad) {
    for (std::size_t i = 0; i < joint_count; ++i) targets_rad_[i] = targets_rad[i];
    damps_ = false;
  }

  /// Motors resist movement and hold nothing.
  void damp() { damps_ = true; }

 private:
  template <typename Work>
  static void repeat(std::chrono::nanoseconds step, Work work) {
    for (std::int64_t at = now_ns(); !ends; at += step.count()) {
      sleep_until(at);
      work();
    }
  }

  void write_imu() {
    const float turning_rad_s_and_gravity[] = {0.0F, 0.0F, 0.0F, 0.0F, 0.0F, -1.0F};
    buffer_.write(imu_, now_ns(), turning_rad_s_and_gravity);
  }

  void write_command() {
    const float stand_still[] = {0.0F, 0.0F, 0.0F};
    buffer_.write(command_, now_ns(), stand_still);
  }

  void move_joints() {
    float sample[2 * joint_count];
    for (std::size_t i = 0; i < joint_count; ++i) {
      const float step = damps_ ? 0.0F : 0.02F * (targets_rad_[i] - positions_rad_[i]);
      positions_rad_[i] += step;
      sample[i] = positions_rad_[i] - default_rad[i % 3];
      sample[joint_count + i] = step / 0.001F;
    }
    buffer_.write(joints_, now_ns(), sample);
  }

  policy_client::ObservationBuffer& buffer_;
  std::size_t imu_ = 0;
  std::size_t command_ = 0;
  std::size_t joints_ = 0;
  std::vector<float> positions_rad_ = {0.0F, -0.65F, 1.3F, 0.0F, -0.65F, 1.3F,
                                       0.0F, -0.65F, 1.3F, 0.0F, -0.65F, 1.3F};
  std::atomic<float> targets_rad_[joint_count] = {};
  std::atomic<bool> damps_{true};
  std::vector<std::thread> threads_;
};

/// Decides between following the policy and damping. From the first action on, damping is final.
/// All times are on this loop's clock: an Answer's stamp is the one passed to tick().
class Guard {
 public:
  bool follows() const { return began_ && reason_.empty(); }
  const std::string& reason() const { return reason_; }

  void observation_failed(const std::string& what) {
    if (began_ && reason_.empty()) reason_ = what;
  }

  /// Checks the age of the last action, after waking up and after each tick: a delayed loop has
  /// held an old action all that time.
  void judge_age(std::int64_t at_ns, const char* status, const char* message) {
    const std::int64_t age_ns = at_ns - asked_ns_;
    if (follows() && age_ns > std::chrono::nanoseconds(max_action_age).count()) {
      reason_ = "action is " + std::to_string(age_ns / 1'000'000) + " ms old: " + status + ": " +
                message;
    }
  }

  void judge(const policy_client::Answer& answer, const float* targets_rad, std::int64_t at_ns,
             const char* message) {
    using policy_client::Status;
    if (answer.status == Status::ok || answer.status == Status::stale) {
      asked_ns_ = answer.stamp_ns;
      began_ = true;
    }
    judge_age(at_ns, to_string(answer.status), message);
    for (std::size_t i = 0; follows() && i < joint_count; ++i) {
      if (!(targets_rad[i] >= least_rad[i % 3] && targets_rad[i] <= most_rad[i % 3])) {
        reason_ = "target of joint " + std::to_string(i) + " is out of its range";
      }
    }
  }

 private:
  bool began_ = false;
  std::int64_t asked_ns_ = 0;  ///< Time of the request for the followed action.
  std::string reason_;
};

struct Arguments {
  policy_client::Options options;
  int priority = 0;
  int cpu = -1;
  double seconds = 10.0;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  if (argc < 2) {
    throw std::invalid_argument(
        "policy_client_control_loop SOURCE [SECONDS] [PRIORITY] [CPU]\n"
        "  SOURCE: where lite3_walk is served: unix:PATH or shm:PATH\n"
        "  SECONDS: duration (10); PRIORITY: SCHED_FIFO priority, 0 for none (0);\n"
        "  CPU: the one to run on (any)\n"
        "Exit status: 0; 1 if the robot was damped meanwhile; 2 if the loop cannot start.");
  }
  arguments.options.source = argv[1];
  if (argc > 2) arguments.seconds = std::stod(argv[2]);
  if (argc > 3) arguments.priority = std::stoi(argv[3]);
  if (argc > 4) arguments.cpu = std::stoi(argv[4]);
  arguments.options.act_dim = joint_count;
  arguments.options.scaling = policy_client::Scaling::physical;
  arguments.options.timeout = 2ms;
  arguments.options.deliver_stale = true;
  return arguments;
}

/// Returns whether the policy was followed, or awaited, to the end.
bool control(policy_client::PolicySource& source, policy_client::ObservationBuffer& buffer,
             Robot& robot, BoundedLog& log, double seconds) {
  // The sensors' values, then the last action, which is the observation's last term.
  std::vector<float> observation(buffer.width() + joint_count);
  std::vector<float> action(joint_count);
  std::vector<float> targets_rad(joint_count);
  Guard guard;
  bool followed = false;
  std::size_t counts[7] = {};
  const std::int64_t begin_ns = now_ns();
  std::int64_t next_ns = begin_ns;
  std::int64_t report_ns = begin_ns;
  while (!ends && static_cast<double>(next_ns - begin_ns) < seconds * 1e9) {
    next_ns += std::chrono::nanoseconds(period).count();
    sleep_until(next_ns);
    const std::int64_t at_ns = now_ns();
    if (at_ns - next_ns > std::chrono::nanoseconds(period).count()) next_ns = at_ns;
    guard.judge_age(at_ns, "delayed", "the machine or a stop signal delayed the loop itself");
    const policy_client::Taken taken = buffer.take(at_ns, observation.data());
    if (taken) {
      const auto answer = source.tick(observation.data(), at_ns, action.data());
      for (std::size_t i = 0; i < joint_count; ++i) {
        observation[buffer.width() + i] = action[i];
        targets_rad[i] = default_rad[i % 3] + action_scale[i % 3] * action[i];
      }
      guard.judge(answer, targets_rad.data(), now_ns(), source.message());
      ++counts[static_cast<int>(answer.status)];
    } else {
      guard.observation_failed(describe(buffer, taken));
    }
    guard.follows() ? robot.command(targets_rad.data()) : robot.damp();
    if (guard.follows() != followed) {
      // Log changes only: a line per tick would delay the loop and fill the log.
      followed = guard.follows();
      log.say("%s%s", followed ? "follows the policy" : "DAMP: ", guard.reason().c_str());
    }
    if (next_ns - report_ns >= std::chrono::nanoseconds(report_period).count()) {
      report_ns = next_ns;
      log.say("%zu ok, %zu stale, %zu late, %zu disconnected", counts[0], counts[1], counts[2],
              counts[4]);
    }
  }
  robot.damp();
  log.say("ends, damped");
  return guard.reason().empty();
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments arguments = parse(argc, argv);
  handle_signals();

  BoundedLog log;
  policy_client::ObservationBuffer buffer;
  Robot robot(buffer);
  arguments.options.obs_dim = static_cast<std::uint32_t>(buffer.width() + joint_count);
  const auto source = policy_client::make_policy_source(arguments.options);
  const auto status = source->connect(5s);
  if (status != policy_client::Status::ok) {
    log.say("not connected yet, still trying: %s: %s", to_string(status), source->message());
  }
  // The sensor threads start first: they may be late, but the control loop must not.
  robot.start();
  become_real_time(arguments.priority, arguments.cpu, log);
  const bool well = control(*source, buffer, robot, log, arguments.seconds);
  return well ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
