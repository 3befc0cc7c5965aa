// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/policy_update.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <sstream>
#include <thread>

namespace policy_controllers {
namespace {

using policy_core::ChunkExchange;
using policy_core::Controller;
using policy_core::Mode;
using policy_core::Numbers;
using policy_core::Part;
using policy_core::PlanError;
using policy_core::Reason;
using policy_core::Refusal;
using policy_core::Rule;
using policy_core::Span;
using policy_core::Targets;
using policy_core::Time;
using std::int64_t;

constexpr auto kLookEvery = std::chrono::microseconds(100);
constexpr auto kLongestRequest = std::chrono::milliseconds(500);
constexpr double kSilentS = 1.0;
/// In simulated time, the machine may be slow.
constexpr int64_t kLongestSimulatedTickNs = 10'000'000'000;
constexpr const char* kHangs = "a tick has not returned; the back end hangs";
// Same as in `policy_inference.messages.readers`.
constexpr const char* kLabel = "contract:";
constexpr const char* kMadeByAnother =
    "expected values computed with this policy's contract, found values from a different contract; "
    "restart perception_node with this policy's bundle";
// The reason for these values is in `policy_core.bundle.state_fields`.
constexpr double kShortest = 0.9, kLongest = 1.1;
/// A source of state fields, and a field's number of values; 0: one per joint.
struct Source {
  const char* name;
  std::size_t size;
};
constexpr std::array<Source, 5> kSources = {
    {{"position", 0}, {"velocity", 0}, {"effort", 0}, {"orientation", 4}, {"angular_velocity", 3}}};

bool is_finite(const Velocity& velocity) noexcept {
  return std::isfinite(velocity[0]) && std::isfinite(velocity[1]) && std::isfinite(velocity[2]);
}

bool is_all_nan(const Velocity& velocity) noexcept {
  return std::isnan(velocity[0]) && std::isnan(velocity[1]) && std::isnan(velocity[2]);
}

bool is_unit_or_unknown(Span quat) noexcept {
  double squares = 0.0;
  for (double value : quat) squares += value * value;
  const double norm = std::sqrt(squares);
  // The guard acts on non-finite values.
  return (kShortest < norm && norm < kLongest) || !std::isfinite(norm);
}

Facts facts_of(const policy_core::Table& plan) {
  const auto host = Part(plan).at("host");
  Facts facts;
  facts.name = host.text("name");
  facts.version = host.text("version");
  facts.path = host.text("path");
  facts.sha256 = plan.digest();
  facts.is_nominal_known = host.flag("nominal_known");
  facts.period_ns = host.integer("period_ns", 1, policy_core::kLargestInteger);
  facts.joints = host.texts("joints");
  const auto joints = static_cast<int64_t>(facts.joints.size());
  facts.commanded = host.places("commanded", 3, joints);
  facts.stiffness = host.numbers("stiffness", joints);
  facts.damping = host.numbers("damping", joints);
  return facts;
}

}  // namespace

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : text;
}

PolicyUpdate::PolicyUpdate(const std::string& plan, policy_core::ReadClock clock, void* context)
    : plan_(policy_core::Table::open(plan)),
      facts_(facts_of(plan_)),
      clock_(clock),
      context_(context),
      models_(Part(plan_).at("host")),
      controller_(plan_, models_.runners(), clock, context),
      words_(plan_),
      pace_(facts_.period_ns),
      longest_wait_ns_(Part(plan_).count("limits.state_timeout_ns")),
      longest_tick_ns_(longest_wait_ns_ + Part(plan_).count("limits.damp_after_ns")),
      command_(facts_.joints.size()),
      safe_(facts_.joints.size()),
      edges_(256),
      refusals_(16, controller_.policy_set() ? controller_.policy_set()->refused() : Refusal{}),
      not_standing_(16),
      durations_(4096),
      doubt_text_(words_.new_number()),
      quaternion_text_(words_.number_of(
          "expected an orientation, found none (the quaternion's length is not 1)")),
      counter_text_(words_.number_of(
          "expected a finite number in its counter, found NaN or infinity (an interface that the "
          "hardware never writes is NaN)")),
      velocity_text_(words_.number_of("expected finite numbers, found NaN or infinity")),
      chained_text_(words_.number_of("pressed by a chained controller")),
      damp_text_(words_.number_of("requested by service")),
      stop_text_(words_.number_of("the controller is deactivated")),
      kept_text_(words_.number_of("a request kept the policy from ticking")),
      clock_text_(words_.number_of("time ran backwards")) {
  const auto host = Part(plan_).at("host");
  if (controller_.target().size() != facts_.joints.size()) {
    throw PlanError("plan: host.joints: expected " + std::to_string(controller_.target().size()) +
                    " joints, found " + std::to_string(facts_.joints.size()));
  }
  read_fields(host);
  if (auto* policy = controller_.chunk_policy("")) {
    facts_.actions = host.texts("actions");
    const auto& request = policy->request_like();
    chunks_.emplace(Chunks{*policy, request, request.planned});
    if (facts_.actions.size() != chunks_->rows.columns) {
      throw PlanError("plan: host.actions: expected " + std::to_string(chunks_->rows.columns) +
                      " names, found " + std::to_string(facts_.actions.size()));
    }
    policy->exchange().context = this;
    policy->exchange().notify = [](void* self, ChunkExchange::Event event) {
      static_cast<PolicyUpdate*>(self)->bring_chunk(event);
    };
  }
  if (host.has("silence_ns")) silence_ns_ = host.count("silence_ns");
  for (std::size_t i = 0; i < controller_.input_count(); ++i) {
    report_.inputs.push_back({controller_.input(i).name(), {}, true});
  }
  if (auto* set = controller_.policy_set()) {
    report_.set.emplace();
    report_.set->refused = set->refused();
  }
}

void PolicyUpdate::read_fields(const Part& host) {
  std::size_t begin = 0;
  for (const auto& plan : host.list("fields")) {
    const auto& name = plan.text("name");
    const auto& source = plan.text("source");
    const auto input = plan.place("input", controller_.input_count());
    if (source == "command") {
      command_input_ = input;
      facts_.takes_command = true;
      continue;
    }
    if (source == "perceived") {
      const auto state = controller_.state().find(name, plan.count("size"));
      if (!state.size) throw PlanError("plan: " + name + ": expected a field of the state");
      facts_.perceived.push_back({controller_.input(input).name(), state.size});
      const auto& label = plan.text("label");
      seen_.push_back({input, state, label, Numbers(state.size), words_.new_number(), "", {}});
      continue;
    }
    const auto known = std::find_if(kSources.begin(), kSources.end(),
                                    [&](const Source& each) { return source == each.name; });
    if (known == kSources.end()) throw PlanError("plan: " + name + ": unknown source " + source);
    const auto size = known->size ? known->size : facts_.joints.size();
    const auto state = controller_.state().find(name, size);
    if (!state.size) throw PlanError("plan: " + name + ": expected a field of the state");
    auto group = std::find_if(groups_.begin(), groups_.end(),
                              [&](const Group& each) { return each.input == input; });
    if (group == groups_.end()) {
      group = groups_.emplace(groups_.end());
      group->input = input;
      facts_.groups.push_back(controller_.input(input).name());
    }
    const Read field{begin, size, state};
    group->fields.push_back(field);
    if (name == "joint_pos") group->position = position_ = field;
    if (name == "joint_vel") group->velocity = field;
    if (source == "orientation") group->orientation = field;
    facts_.fields.push_back({name, source, size});
    begin += size;
  }
  values_.assign(begin, std::numeric_limits<double>::quiet_NaN());
}

void PolicyUpdate::set_update_rate(double rate_hz) {
  const double updates = rate_hz * policy_core::seconds(pace_.period_ns());
  const double whole = std::round(updates);
  if (whole < 1.0 || std::fabs(updates - whole) > 1e-3 * whole) {
    const double own_hz = 1.0 / policy_core::seconds(pace_.period_ns());
    const double lower = std::max(1.0, std::floor(updates));
    std::array<char, 200> text;
    std::snprintf(text.data(), text.size(),
                  "update_rate: expected a multiple of the policy's %g Hz, found %g Hz; set that of "
                  "the controller manager, or of this controller, to %g or %g Hz",
                  own_hz, rate_hz, lower * own_hz, (lower + 1.0) * own_hz);
    throw PlanError(text.data());
  }
  pace_.set_update_period(pace_.period_ns() / static_cast<int64_t>(whole));
}

void PolicyUpdate::count(const std::vector<std::size_t>& groups) {
  for (auto group : groups) groups_.at(group).counter = values_.size();
  values_.push_back(std::numeric_limits<double>::quiet_NaN());
}

bool PolicyUpdate::start() noexcept {
  const auto lock = between_ticks();
  if (!lock) return false;
  if (controller_.mode() != Mode::kDamp) controller_.stop(stop_text_);
  controller_.start();
  pace_.restart();
  has_values_ = has_command_ = was_kept_ = stands_up_ = false;
  for (auto& group : groups_) {
    group.is_new = false;
    group.count = std::numeric_limits<double>::quiet_NaN();
  }
  newest_.reset();
  {
    const std::lock_guard hearing(hearing_);
    heard_.reset();
    for (auto& each : seen_) each.is_new = false;
  }
  ticks_ = missed_ = 0;
  waited_ = 0;
  updated_ns_ = ticked_ns_ = began_ns_ = clock_(context_);
  note_safe();
  note(updated_ns_);
  is_started_ = true;
  return true;
}

const Targets* PolicyUpdate::stop() noexcept {
  is_started_ = false;
  const auto lock = between_ticks();
  if (lock) {
    controller_.stop(stop_text_);
    note_safe();
    note(clock_(context_));
  }
  command(has_safe_ ? &safe_ : nullptr);
  return has_command_ ? &command_ : nullptr;
}

const Targets* PolicyUpdate::update(const double* values, const Velocity* velocity,
                                    int64_t ros_now_ns) noexcept {
  const auto now_ns = clock_(context_);
  if (now_ns < updated_ns_) pace_.restart();
  look(values, now_ns);
  if (velocity) {
    if (!is_all_nan(*velocity)) newest_ = Heard{*velocity, Time()};
  } else if (const std::unique_lock lock(hearing_, std::try_to_lock); lock && heard_) {
    newest_ = heard_;
    heard_.reset();
  }
  if (pace_.is_due(now_ns)) {
    const std::unique_lock lock(requests_, std::try_to_lock);
    if (lock) {
      tick(now_ns, ros_now_ns);
    } else {
      ++waited_;
      was_kept_ = was_kept_ || (mode_.load() != Mode::kDamp && now_ns - ticked_ns_ > longest_wait_ns_);
    }
  }
  updated_ns_ = now_ns;
  // After an e-stop, only the fault command is sent, even between two ticks.
  if (was_kept_ || controller_.estop_pressed()) command(has_safe_ ? &safe_ : nullptr);
  return has_command_ ? &command_ : nullptr;
}

void PolicyUpdate::look(const double* values, int64_t now_ns) noexcept {
  for (auto& group : groups_) {
    bool has_changed = false;
    if (group.counter) {
      // The first count seen may be old; an interface that is never written is NaN.
      const double count = values[*group.counter];
      has_changed = std::isfinite(group.count) && std::isfinite(count) && count != group.count;
      if (std::isfinite(count)) group.count = count;
    } else {
      // Compared as bits, so that NaN equals itself.
      for (const auto& field : group.fields) {
        has_changed = has_changed || std::memcmp(values + field.begin, values_.data() + field.begin,
                                                 field.size * sizeof(double)) != 0;
      }
    }
    // The first values seen may be old.
    if (!has_changed || !has_values_) continue;
    group.is_new = true;
    group.changed_ns = now_ns;
  }
  std::copy(values, values + values_.size(), values_.begin());
  has_values_ = true;
}

void PolicyUpdate::tick(int64_t now_ns, int64_t ros_now_ns) noexcept {
  const auto began = std::chrono::steady_clock::now();
  if (now_ns < ticked_ns_) restart();
  if (was_kept_) controller_.fault(Rule::kInternal, kept_text_);
  was_kept_ = false;
  missed_ += pace_.advance(now_ns);
  for (auto& group : groups_) {
    if (group.is_new) {
      sample(group, now_ns);
    } else if (group.counter && !std::isfinite(values_[*group.counter])) {
      controller_.input(group.input).reject(counter_text_);
    }
  }
  sample_velocity(now_ns, ros_now_ns);
  sample_perceived(now_ns, ros_now_ns);
  tick_began_ns_.store(began.time_since_epoch().count());
  const auto& result = controller_.tick(now_ns, pace_.deadline_ns());
  tick_began_ns_.store(0);
  command(result.targets);
  note_safe();
  ++ticks_;
  ticked_ns_ = now_ns;
  durations_.push((std::chrono::steady_clock::now() - began).count());
  go_on(now_ns);
  note(now_ns);
}

void PolicyUpdate::restart() noexcept {
  controller_.joint_check().forget();
  for (std::size_t i = 0; i < controller_.input_count(); ++i) controller_.input(i).reset();
  if (controller_.mode() != Mode::kDamp) controller_.fault(Rule::kClock, clock_text_);
}

void PolicyUpdate::sample(Group& group, int64_t now_ns) noexcept {
  group.is_new = false;
  auto& input = controller_.input(group.input);
  if (!input.is_new(group.changed_ns, now_ns)) return;
  if (group.position) {
    doubt_ = controller_.joint_check().judge(
        span_of(*group.position), group.velocity ? span_of(*group.velocity) : Span{}, now_ns);
    if (doubt_.code != policy_core::JointCheck::Problem::Code::kNone) {
      return input.reject(doubt_text_);
    }
  }
  if (group.orientation && !is_unit_or_unknown(span_of(*group.orientation))) {
    return input.reject(quaternion_text_);
  }
  input.accept(now_ns, group.changed_ns, now_ns);
  for (const auto& field : group.fields) {
    std::copy_n(values_.data() + field.begin, field.size, field.state.begin());
  }
}

void PolicyUpdate::sample_velocity(int64_t now_ns, int64_t ros_now_ns) noexcept {
  if (!command_input_ || !newest_) return;
  const auto heard = *newest_;
  newest_.reset();
  auto& input = controller_.input(*command_input_);
  if (!input.is_new(heard.stamp_ns, now_ns)) return;
  if (!is_finite(heard.velocity)) {
    input.reject(velocity_text_);
    controller_.reject_command();
    return;
  }
  input.accept(now_ns, heard.stamp_ns, ros_now_ns);
  controller_.command().set(heard.velocity, now_ns - input.age_ns(now_ns).value_or(0));
}

void PolicyUpdate::sample_perceived(int64_t now_ns, int64_t ros_now_ns) noexcept {
  if (seen_.empty()) return;
  const std::unique_lock lock(hearing_, std::try_to_lock);
  if (!lock) return;  // the next tick takes the values
  for (auto& each : seen_) {
    if (!each.is_new) continue;
    each.is_new = false;
    auto& input = controller_.input(each.input);
    if (!input.is_new(each.stamp_ns, now_ns)) continue;
    if (each.is_refused) {
      input.reject(each.text);
      continue;
    }
    input.accept(now_ns, each.stamp_ns, ros_now_ns);
    std::copy(each.values.begin(), each.values.end(), each.state.begin());
  }
}

void PolicyUpdate::bring_chunk(ChunkExchange::Event event) noexcept {
  auto& chunks = *chunks_;
  const std::unique_lock lock(hearing_, std::try_to_lock);
  if (event == ChunkExchange::Event::kForgotten) chunks.begins_ns = clock_(context_);
  if (!lock || !chunks.is_new) return;
  // A chunk observed before the run does not match the robot's current pose.
  if (chunks.taken_ns < chunks.begins_ns) chunks.is_new = false;
  auto& exchange = chunks.policy.exchange();
  if (!chunks.is_new || !exchange.fetch(chunks.request)) return;
  chunks.is_new = false;
  auto& answer = exchange.answer();
  answer.kind = policy_core::ChunkOutcome::Kind::kChunk;
  answer.time_ns = answer.began_ns = chunks.taken_ns;
  answer.ended_ns = chunks.heard_ns;
  answer.chunk.take(chunks.rows, 0, chunks.rows.count);
  exchange.hand_over();
}

void PolicyUpdate::command(const Targets* targets) noexcept {
  has_command_ = targets;
  if (!targets) return;
  command_.mode = targets->mode;
  std::copy(targets->block().begin(), targets->block().end(), command_.block().begin());
  if (!position_) return;
  // Interfaces keep their values: a stiffness that is set later must not pull the joint elsewhere.
  const auto measured = span_of(*position_);
  for (std::size_t i = 0; i < measured.size; ++i) {
    if (command_.stiffness()[i] == 0.0 && std::isfinite(measured[i])) {
      command_.position()[i] = measured[i];
    }
  }
}

void PolicyUpdate::note_safe() noexcept {
  const auto* safe = controller_.safe_targets();
  has_safe_ = safe;
  if (!safe) return;
  safe_.mode = safe->mode;
  std::copy(safe->block().begin(), safe->block().end(), safe_.block().begin());
}

Controller::Problems PolicyUpdate::begin_to_stand() noexcept {
  auto* set = controller_.policy_set();
  if (!set || controller_.mode() != Mode::kRun || set->may_stand()) return controller_.stand();
  if (!stands_up_) set->go_back();
  stands_up_ = true;
  return {};
}

void PolicyUpdate::go_on(int64_t now_ns) noexcept {
  auto* set = controller_.policy_set();
  if (!set || controller_.mode() == Mode::kHold) return;
  Controller::Problems problems;
  if (controller_.mode() != Mode::kRun) {
    stands_up_ = false;
    began_ns_ = now_ns;
    set->stop();
  } else if (stands_up_ && set->may_stand()) {
    stands_up_ = false;
    problems = controller_.stand();
  } else if (!stands_up_ && silence_ns_) {
    const auto since_ns = now_ns - began_ns_;
    const auto age_ns = controller_.input(*command_input_).age_ns(now_ns).value_or(since_ns);
    if (std::min(since_ns, age_ns) <= *silence_ns_) return;
    began_ns_ = now_ns;  // if standing is refused, ask again after that time
    problems = begin_to_stand();
  }
  if (problems.any()) not_standing_.push(problems);
}

void PolicyUpdate::note(int64_t now_ns) noexcept {
  note_changes();
  const std::unique_lock lock(reporting_, std::try_to_lock);
  if (!lock) return;
  auto& report = report_;
  report.now_ns = now_ns;
  report.ticks = ticks_;
  report.missed = missed_;
  report.waited = waited_.load();
  report.mode = controller_.mode();
  report.reason = controller_.reason();
  report.latched = controller_.latched();
  report.authority = controller_.authority().lowest();
  report.estop_noted = controller_.estop_noted();
  report.is_pose_known = controller_.safe_targets();
  report.was_asked = controller_.was_asked_for_a_pose();
  report.counters = controller_.counters();
  for (std::size_t i = 0; i < report.inputs.size(); ++i) {
    report.inputs[i].found = policy_core::stale_reason(controller_.input(i), i, now_ns);
    report.inputs[i].is_stale = controller_.input(i).is_stale(now_ns);
  }
  if (auto* set = controller_.policy_set()) {
    auto& into = *report.set;
    into.state = set->state();
    into.asked = set->asked();
    into.switches = set->switches();
    into.fallbacks = set->fallbacks();
    into.is_blending = set->is_blending();
    into.refused = set->refused();
    into.last = set->last();
    into.step_ratio = set->step_ratio();
  }
}

void PolicyUpdate::note_changes() noexcept {
  mode_.store(controller_.mode());
  is_latched_.store(controller_.latched());
  policy_core::Edge edge;
  while (controller_.pop_edge(edge)) edges_.push(edge);
  auto* set = controller_.policy_set();
  while (const auto* refusal = set ? set->pop_refusal() : nullptr) refusals_.push(*refusal);
}

void PolicyUpdate::hear(const Velocity& velocity, Time stamp_ns) {
  const std::lock_guard lock(hearing_);
  heard_ = Heard{velocity, stamp_ns};
}

void PolicyUpdate::hear(std::size_t place, const std::string& label,
                        const std::vector<double>& values, const std::string& problem,
                        Time stamp_ns) {
  const std::lock_guard lock(hearing_);
  auto& seen = seen_.at(place);
  const bool is_finite =
      std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
  const bool is_of_another = label.rfind(kLabel, 0) == 0 && label != seen.label;
  auto why = is_of_another ? kMadeByAnother : problem;
  if (why.empty() && values.size() != seen.values.size()) {
    why = "expected " + std::to_string(seen.values.size()) + " values, found " +
          std::to_string(values.size());
  } else if (why.empty() && !is_finite) {
    why = "expected finite values, found NaN or infinity";
  }
  seen.is_refused = !why.empty();
  if (seen.is_refused) seen.problem = why;
  if (!seen.is_refused) std::copy(values.begin(), values.end(), seen.values.begin());
  seen.stamp_ns = stamp_ns;
  seen.is_new = true;
}

std::string PolicyUpdate::hear(const Chunk& chunk) {
  if (!chunks_) return "expected no chunk (the plan is not for a chunk policy), found one";
  auto& into = *chunks_;
  const auto joined = [](const auto&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
  };
  std::vector<std::size_t> columns;
  for (const auto& action : facts_.actions) {
    const auto found = std::find(chunk.names.begin(), chunk.names.end(), action);
    if (found != chunk.names.end()) {
      columns.push_back(static_cast<std::size_t>(found - chunk.names.begin()));
    }
  }
  if (columns.size() != facts_.actions.size() || columns.size() != chunk.names.size()) {
    return joined("names: expected ", listed(facts_.actions), "; found ", listed(chunk.names));
  }
  const double period_s = policy_core::seconds(facts_.period_ns);
  if (!(std::fabs(chunk.period_s - period_s) <= 1e-3 * period_s)) {
    return joined("period_s: expected ", period_s, " s, found ", chunk.period_s, " s");
  }
  if (chunk.steps < 1 || chunk.steps > into.rows.capacity()) {
    return joined("steps: expected 1 to ", into.rows.capacity(), ", found ", chunk.steps);
  }
  if (chunk.data.size() != chunk.steps * columns.size()) {
    return joined("data: expected ", chunk.steps * columns.size(), " numbers, found ",
                  chunk.data.size());
  }
  const double lasts_s = static_cast<double>(chunk.steps) * period_s;
  const double age_s = policy_core::seconds(chunk.age_ns);
  if (age_s < 0.0 || age_s >= lasts_s) {
    return joined("stamp: expected an age of 0 to ", lasts_s,
                  " s (the duration of the steps), found ", age_s,
                  " s; synchronize the clocks if that is wrong");
  }
  const std::lock_guard lock(hearing_);
  into.rows.count = chunk.steps;
  for (std::size_t row = 0; row < chunk.steps; ++row) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      into.rows[row][i] = chunk.data[row * columns.size() + columns[i]];
    }
  }
  into.heard_ns = clock_(context_);
  into.taken_ns = into.heard_ns - chunk.age_ns;
  into.is_new = true;
  return "";
}

std::unique_lock<std::mutex> PolicyUpdate::between_ticks() {
  for (auto waited = kLookEvery;; waited += kLookEvery) {
    std::unique_lock lock(requests_, std::try_to_lock);
    if (lock || waited > kLongestRequest) return lock;
    std::this_thread::sleep_for(kLookEvery);
  }
}

template <class Act>
std::string PolicyUpdate::request(Act act) {
  const auto lock = between_ticks();
  if (!lock) return kHangs;
  const auto refusal = act();
  note(ticked_ns_);
  return refusal;
}

std::string PolicyUpdate::stand() {
  return request([this]() -> std::string {
    const auto problems = begin_to_stand();
    if (!problems.any()) return "";
    make_words();
    return words_.refusal("STAND", problems, controller_);
  });
}

std::string PolicyUpdate::run() {
  return request([this]() -> std::string {
    const auto problems = controller_.run();
    if (!problems.any()) return "";
    make_words();
    return words_.refusal("RUN", problems, controller_);
  });
}

std::string PolicyUpdate::damp() {
  return request([this]() -> std::string {
    if (controller_.damp(damp_text_)) return "";
    make_words();
    // `run` is refused in this mode and changes nothing; it returns the problems to report.
    return words_.damp_refusal(controller_.run(), controller_);
  });
}

std::string PolicyUpdate::reset() {
  return request([this]() -> std::string {
    controller_.reset();
    return "";
  });
}

std::string PolicyUpdate::switch_to(const std::string& state) {
  return request([&]() -> std::string {
    auto* set = controller_.policy_set();
    if (!set) return "switch refused: the plan is for a single policy, expected a set";
    const auto mode = controller_.mode();
    if (mode != Mode::kRun) {
      return std::string("switch refused: the mode is ") + policy_core::Words::mode(mode) +
             ", expected RUN";
    }
    const auto& states = words_.states();
    const auto found = std::find(states.begin(), states.end(), state);
    const auto& refusal = set->ask(found == states.end() ? -1 : found - states.begin());
    if (refusal.code == Refusal::Code::kNone) {
      stands_up_ = false;
      return "";
    }
    make_words();
    return words_.ask_refusal(refusal, state, *set);
  });
}

void PolicyUpdate::press_estop(const std::string& why) {
  controller_.press_estop(words_.number_of(why));
}

void PolicyUpdate::press_estop() noexcept {
  if (!estop_pressed()) controller_.press_estop(chained_text_);
}

void PolicyUpdate::look_at_tick(bool is_simulated) {
  const auto began_ns = tick_began_ns_.load();
  if (!began_ns || mode() == Mode::kDamp) return;
  const auto limit_ns = is_simulated ? kLongestSimulatedTickNs : longest_tick_ns_;
  if (std::chrono::steady_clock::now().time_since_epoch().count() - began_ns <= limit_ns) return;
  std::array<char, 128> why;
  std::snprintf(why.data(), why.size(),
                "a tick has not returned within %.1f s: the model hangs; restart the process",
                policy_core::seconds(limit_ns));
  press_estop(why.data());
}

void PolicyUpdate::make_words() {
  words_.set_text(doubt_text_, words_.sample(doubt_));
  {
    const std::lock_guard hearing(hearing_);
    for (const auto& each : seen_) words_.set_text(each.text, each.problem);
  }
  const bool is_alone = !controller_.policy_set();
  for (std::size_t i = 0; i < models_.runners().size(); ++i) {
    words_.set_model_error(is_alone ? -1 : static_cast<int64_t>(i), models_.error(i));
  }
}

Report PolicyUpdate::report() {
  std::unique_lock reporting(reporting_);
  auto report = report_;
  reporting.unlock();
  if (estop_pressed() && !report.estop_noted) {  // not yet seen by a tick, which may hang
    report.mode = Mode::kDamp;
    report.latched = true;
    report.reason = policy_core::said(controller_.pressed());
    report.reason.latched_by = static_cast<int64_t>(Rule::kEstop);
  }
  bool needs_words = report.counters[static_cast<std::size_t>(Rule::kInferenceError)] > 0 ||
                     (report.set && report.set->fallbacks > 0);
  for (const auto& input : report.inputs) {
    needs_words |= input.found.text == doubt_text_;
    for (const auto& each : seen_) needs_words |= input.found.text == each.text;
  }
  if (!needs_words) return report;
  if (const auto lock = between_ticks()) make_words();
  return report;
}

std::string PolicyUpdate::reason(const Report& report) {
  auto text = words_.reason(report.reason);
  const auto add = [&](const std::string& more) { text += (more.empty() ? "" : "; ") + more; };
  add(words_.silence(report.is_pose_known, report.was_asked));
  const auto silent_s = policy_core::seconds(clock_(context_) - report.now_ns);
  if (is_started_.load() && silent_s >= kSilentS) {
    std::array<char, 96> silent;
    std::snprintf(silent.data(), silent.size(),
                  "no tick for %.1f s; the controller manager does not update", silent_s);
    add(silent.data());
  }
  return text;
}

std::string PolicyUpdate::problem(const InputReport& input) {
  auto text = input.is_stale ? words_.reason(input.found) : words_.text(input.found.text);
  if (!text.empty() && text.compare(0, input.name.size(), input.name) != 0) {
    text = input.name + ": " + text;
  }
  return text;
}

std::vector<PolicyUpdate::Line> PolicyUpdate::log() {
  const std::lock_guard logging(logging_);
  std::vector<Line> lines;
  if (!edges_.front() && !refusals_.front() && !not_standing_.front()) return lines;
  const auto lock = between_ticks();
  if (!lock) return lines;
  make_words();
  const auto now_ns = clock_(context_);
  for (const auto* edge = edges_.front(); edge; edges_.pop(), edge = edges_.front()) {
    const auto reason = words_.reason(edge->reason);
    std::array<char, 48> ago;
    std::snprintf(ago.data(), ago.size(), " (%.0f ms ago)",
                  static_cast<double>(std::max<int64_t>(0, now_ns - edge->at_ns)) * 1e-6);
    const bool is_held =
        edge->mode == Mode::kHold && edge->reason.code != Reason::Code::kFirstAwaited;
    const bool is_fault = edge->mode == Mode::kDamp && reason.find(':') != std::string::npos;
    lines.push_back({is_held || is_fault,
                     std::string(policy_core::Words::mode(edge->mode)) + ": " + reason + ago.data()});
  }
  for (const auto* each = refusals_.front(); each; refusals_.pop(), each = refusals_.front()) {
    lines.push_back({true, words_.switch_refusal(*each)});
  }
  for (const auto* each = not_standing_.front(); each;
       not_standing_.pop(), each = not_standing_.front()) {
    lines.push_back({true, words_.refusal("STAND", *each, controller_)});
  }
  return lines;
}

std::vector<int64_t> PolicyUpdate::durations() {
  const std::lock_guard logging(logging_);
  std::vector<int64_t> found;
  for (const auto* each = durations_.front(); each; durations_.pop(), each = durations_.front()) {
    found.push_back(*each);
  }
  return found;
}

}  // namespace policy_controllers
