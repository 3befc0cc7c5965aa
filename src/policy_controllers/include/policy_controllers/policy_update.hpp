// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "policy_controllers/pace.hpp"
#include "policy_controllers/proven_models.hpp"
#include "policy_controllers/queue.hpp"
#include "policy_core/controller.hpp"
#include "policy_core/words.hpp"

namespace policy_controllers {

/// A measured field of the robot's state.
struct Field {
  std::string name;
  /// position, velocity, effort, orientation or angular_velocity.
  std::string source;
  std::size_t size;
};

/// Values that another process computes for the policy from a map or images.
struct Perceived {
  std::string topic;
  std::size_t size;
};

/// The part of a plan that the controller's host needs.
struct Facts {
  std::string name, version, path, sha256;
  bool is_nominal_known = false;
  std::int64_t period_ns = 0;
  /// In the order of the targets.
  std::vector<std::string> joints;
  /// Command of each joint: 0 by position, 1 by velocity, 2 by effort.
  policy_core::Integers commanded;
  /// Gain of each joint; NaN if it differs between modes.
  policy_core::Numbers stiffness, damping;
  /// In the order that `update` reads.
  std::vector<Field> fields;
  /// Inputs of the fields: joint_states, imu/data.
  std::vector<std::string> groups;
  bool takes_command = false;
  std::vector<Perceived> perceived;
  /// Joints that another process's chunks command, in column order; none without chunks.
  std::vector<std::string> actions;
};

/// The names, joined by commas; "none" if there are none.
std::string listed(const std::vector<std::string>& names);

/// The next steps of an action, computed by another process.
struct Chunk {
  const std::vector<std::string>& names;
  double period_s;
  std::size_t steps;
  /// Targets [steps, names].
  const std::vector<double>& data;
  /// Age of the observation that the chunk answers.
  std::int64_t age_ns;
};

/// A velocity command: vx, vy, yaw rate.
using Velocity = std::array<double, 3>;

/// State of an input at the last tick.
struct InputReport {
  std::string name;
  policy_core::Reason found;
  bool is_stale = false;
};

/// State of a policy set after the last tick.
struct SetReport {
  std::int64_t state = -1, asked = -1, switches = 0, fallbacks = 0;
  bool is_blending = false;
  policy_core::Refusal refused;
  std::optional<policy_core::Reason> last;
  double step_ratio = 0.0;
};

/// A copy of the status values, as of the last tick.
struct Report {
  std::int64_t now_ns = 0, ticks = 0, missed = 0;
  /// Number of due updates that repeated a command because a request was being answered.
  std::int64_t waited = 0;
  policy_core::Mode mode = policy_core::Mode::kDamp;
  policy_core::Reason reason;
  bool latched = false, estop_noted = false, is_pose_known = false, was_asked = false;
  /// Share of the policy in the command, the lowest of all joints.
  double authority = 1.0;
  std::array<std::int64_t, policy_core::kRules> counters{};
  std::vector<InputReport> inputs;
  std::optional<SetReport> set;
};

/// Runs a plan's policy in a controller manager's updates, without ROS.
///
/// `update` belongs to one thread; it allocates nothing, blocks on no lock, and throws and logs
/// nothing. The other methods belong to other threads.
class PolicyUpdate {
 public:
  /// Opens a plan and verifies its models. Throws PlanError. `clock`: same as for `Controller`.
  PolicyUpdate(const std::string& plan, policy_core::ReadClock clock, void* context);

  const Facts& facts() const noexcept { return facts_; }
  /// The models, by member name.
  const policy_core::Models& models() const noexcept { return models_.runners(); }
  /// Sets the update rate of the manager, Hz; call it before `start`. Throws PlanError unless it is
  /// a multiple of the policy's rate.
  void set_update_rate(double rate_hz);
  /// Uses a counter of the robot to detect new measurements of groups of fields; call it before
  /// `start`. Without a counter, any changed value counts as a new measurement.
  void count(const std::vector<std::size_t>& groups);
  /// Number of values that `update` reads: the fields, then the counters in the order of `count`.
  std::size_t value_count() const noexcept { return values_.size(); }

  /// Starts in DAMP, for each activation, between two updates; returns false if a request hangs.
  bool start() noexcept;
  /// Ends in DAMP, between two updates; returns the final command to write, or null.
  const policy_core::Targets* stop() noexcept;
  /// Returns the command, or null; valid until the next update.
  ///
  /// `velocity`: from a chained controller, NaN for no new one; null if the topic is used.
  /// `ros_now_ns`: clock of the commands' stamps.
  const policy_core::Targets* update(const double* values, const Velocity* velocity,
                                     std::int64_t ros_now_ns) noexcept;
  /// True if a fault is latched, or the e-stop is pressed.
  bool is_latched() const noexcept { return is_latched_.load() || estop_pressed(); }

  /// Stores a received velocity command, with its stamp if it has one.
  void hear(const Velocity& velocity, policy_core::Time stamp_ns);
  /// Stores perceived values, given their index in the facts; `label`: label of the contract with
  /// which the values were computed, or a frame; `problem`: why values are missing.
  void hear(std::size_t place, const std::string& label, const std::vector<double>& values,
            const std::string& problem, policy_core::Time stamp_ns);
  /// Stores a received chunk; returns why it is refused, or an empty text.
  std::string hear(const Chunk& chunk);

  /// Returns a lock that holds off ticks, as each request does for microseconds; if a tick hangs,
  /// the lock owns nothing.
  std::unique_lock<std::mutex> between_ticks();

  // Requests. Each returns why it is refused; otherwise an empty text.
  std::string stand();
  std::string run();
  std::string damp();
  std::string reset();
  std::string switch_to(const std::string& state);
  /// Never blocks.
  void press_estop(const std::string& why);
  /// For a chained controller; call it on the thread of `update`.
  void press_estop() noexcept;
  /// Presses the e-stop if a tick in motion takes longer than the guard's longest gap between two
  /// ticks: a model may contain a loop without an end. Call it often, not on the thread of `update`.
  void look_at_tick(bool is_simulated);
  bool estop_pressed() const noexcept { return controller_.estop_pressed(); }
  /// The mode; after a press of the e-stop, DAMP even before the next tick.
  policy_core::Mode mode() const noexcept {
    return estop_pressed() ? policy_core::Mode::kDamp : mode_.load();
  }

  // For the status.
  Report report();
  policy_core::Words& words() noexcept { return words_; }
  std::string reason(const Report& report);
  /// Why an input may not be used; empty if it may.
  std::string problem(const InputReport& input);
  /// Events since the last call, one line each; `is_error`: whether it needs attention.
  struct Line {
    bool is_error;
    std::string text;
  };
  std::vector<Line> log();
  /// Durations of ticks since the last call, ns.
  std::vector<std::int64_t> durations();

 private:
  /// A field among the values that `update` reads.
  struct Read {
    std::size_t begin, size;
    policy_core::Span state;
  };
  /// Fields that are measured together.
  struct Group {
    std::size_t input;
    std::vector<Read> fields;
    /// Fields whose values are checked, if the group has them.
    std::optional<Read> position, velocity, orientation;
    std::optional<std::size_t> counter;
    /// Last finite value of the counter; NaN: none yet.
    double count = std::numeric_limits<double>::quiet_NaN();
    std::int64_t changed_ns = 0;
    bool is_new = false;
  };
  struct Heard {
    Velocity velocity;
    policy_core::Time stamp_ns;
  };
  /// Latest perceived values, and the last problem.
  struct Seen {
    std::size_t input;
    policy_core::Span state;
    std::string label;
    policy_core::Numbers values;
    std::int64_t text;
    std::string problem;
    policy_core::Time stamp_ns;
    bool is_new = false, is_refused = false;
  };
  /// A received chunk, the time of its observation, and its destination.
  struct Chunks {
    policy_core::ChunkPolicy& policy;
    policy_core::ChunkRequest request;
    policy_core::Rows rows;
    std::int64_t taken_ns = 0, heard_ns = 0, begins_ns = 0;
    bool is_new = false;
  };
  void read_fields(const policy_core::Part& host);
  policy_core::Span span_of(const Read& field) noexcept {
    return {values_.data() + field.begin, field.size};
  }
  void look(const double* values, std::int64_t now_ns) noexcept;
  void tick(std::int64_t now_ns, std::int64_t ros_now_ns) noexcept;
  void restart() noexcept;
  void sample(Group& group, std::int64_t now_ns) noexcept;
  void sample_velocity(std::int64_t now_ns, std::int64_t ros_now_ns) noexcept;
  void sample_perceived(std::int64_t now_ns, std::int64_t ros_now_ns) noexcept;
  void bring_chunk(policy_core::ChunkExchange::Event event) noexcept;
  void go_on(std::int64_t now_ns) noexcept;
  /// Stands up, or first returns to a state of the set from which the robot may stand up.
  policy_core::Controller::Problems begin_to_stand() noexcept;
  /// Makes these the command; a joint without stiffness gets its measured position.
  void command(const policy_core::Targets* targets) noexcept;
  void note_safe() noexcept;
  void note(std::int64_t now_ns) noexcept;
  void note_changes() noexcept;
  void make_words();
  /// Executes requests between two ticks, unless one hangs.
  template <class Act>
  std::string request(Act act);

  policy_core::Table plan_;
  Facts facts_;
  policy_core::ReadClock clock_;
  void* context_;
  ProvenModels models_;
  policy_core::Controller controller_;
  policy_core::Words words_;
  Pace pace_;
  std::int64_t longest_wait_ns_, longest_tick_ns_;
  policy_core::Time silence_ns_;
  std::optional<std::size_t> command_input_;

  // For the thread of updates.
  policy_core::Numbers values_;
  bool has_values_ = false;
  std::vector<Group> groups_;
  std::optional<Read> position_;
  policy_core::Targets command_, safe_;
  bool has_command_ = false, has_safe_ = false, was_kept_ = false;
  std::int64_t updated_ns_ = 0, ticked_ns_ = 0;
  std::optional<Heard> newest_;
  bool stands_up_ = false;
  std::int64_t began_ns_ = 0;
  std::int64_t ticks_ = 0, missed_ = 0;

  // Shared between threads.
  std::mutex requests_, hearing_, reporting_, logging_;
  std::optional<Heard> heard_;
  std::vector<Seen> seen_;
  std::optional<Chunks> chunks_;
  Report report_;
  policy_core::JointCheck::Problem doubt_;
  std::atomic<policy_core::Mode> mode_{policy_core::Mode::kDamp};
  std::atomic<bool> is_started_{false}, is_latched_{false};
  std::atomic<std::int64_t> waited_{0};
  /// When the tick in progress began, on the steady clock; 0 between ticks.
  std::atomic<std::int64_t> tick_began_ns_{0};
  Queue<policy_core::Edge> edges_;
  Queue<policy_core::Refusal> refusals_;
  Queue<policy_core::Controller::Problems> not_standing_;
  Queue<std::int64_t> durations_;
  std::int64_t doubt_text_, quaternion_text_, counter_text_, velocity_text_, chained_text_,
      damp_text_, stop_text_, kept_text_, clock_text_;
};

}  // namespace policy_controllers
