// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/chunk_policy.hpp"

#include <algorithm>
#include <cmath>

namespace policy_core {
namespace {

/// Limit on the steps of a chunk in a contract.
constexpr std::int64_t kMostSteps = 10'000;
using Code = Reason::Code;

double milliseconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-6; }

bool all_finite(const double* begin, const double* end) {
  return std::all_of(begin, end, [](double value) { return std::isfinite(value); });
}

ChunkRequest request_like(const ObservationSync& sync, const Rows& chunk_like) {
  const auto sensed = sync.snapshot_like();
  return {sensed, {sync.earlier(), sensed}, 0, 0, chunk_like, 0};
}

}  // namespace

ChunkCommand::ChunkCommand(const Part& plan)
    : Command(plan),
      joints_(plan.places("joints", joints())),
      stride_(plan.numbers("stride", static_cast<std::int64_t>(joints_.size()))),
      pose_(plan.numbers("pose", static_cast<std::int64_t>(joints()))) {
  if (plan.has("reach")) {
    reach_ = plan.numbers("reach", static_cast<std::int64_t>(joints_.size()));
  }
  if (joints_.empty()) throw PlanError("plan: action: expected joints, found none");
}

void ChunkCommand::read(Numbers& target) const noexcept {
  for (std::size_t i = 0; i < joints_.size(); ++i) {
    target[i] = command[static_cast<std::size_t>(joints_[i])];
  }
}

void ChunkCommand::set(const Numbers& target, Span joint_pos) noexcept {
  clipped = 0;
  for (std::size_t i = 0; i < joints_.size(); ++i) {
    const auto joint = static_cast<std::size_t>(joints_[i]);
    const auto within = [&](double distance, double centre, double wanted, Rule rule) {
      const double found = clip(wanted, centre - distance, centre + distance);
      if (found != wanted) clipped |= bit(rule);
      return found;
    };
    double wanted = target[i];
    if (!reach_.empty()) {
      wanted = within(reach_[i], joint_pos[joint], wanted, Rule::kRelativeTarget);
    }
    // Last, so that no measurement can make a target jump.
    command[joint] = within(stride_[i], command[joint], wanted, Rule::kTargetSpeed);
  }
}

void Swings::add(Span measured, const Numbers& command) noexcept {
  const auto row = 2 * measured.size, rows = values.size() / row;
  auto* into = values.data() + static_cast<std::size_t>(count) % rows * row;
  into = std::copy(measured.begin(), measured.end(), into);
  std::copy(command.begin(), command.end(), into);
  ++count;
}

ChunkPolicy::ChunkPolicy(const Part& plan, RobotState& state, const std::vector<Input>& inputs,
                         ReadClock clock, void* context, std::int64_t member)
    : target(plan.at("action").integers("joints").size()),
      clock_(clock),
      context_(context),
      member_(member),
      action_(plan.at("action")),
      size_(static_cast<std::size_t>(plan.integer("size", 1, kMostSteps))),
      period_ns_(plan.integer("period_ns", 1, kLargestInteger)),
      expected_delay_(plan.count("delay.expected")),
      joint_pos_(state.find("joint_pos", action_.joints())),
      sync_(plan.at("sync"), state, inputs),
      queue_(plan.at("queue"), size_, target.size()),
      under_way_(policy_core::request_like(sync_, Rows(size_, target.size()))),
      exchange_(under_way_, under_way_.planned),
      ticks_(period_ns_),
      last_target_(target.size()),
      executed_(2 * size_) {
  if (!joint_pos_.size) throw PlanError("plan: state: expected joint_pos");
  const auto row = 2 * joint_pos_.size;
  const auto ticks = plan.integer("oscillation.ticks", 1, kMostValues);
  check_size("oscillation", ticks, row);
  swings_.values.resize(static_cast<std::size_t>(ticks) * row);
  action_.read(target);
}

void ChunkPolicy::start() noexcept {
  queue_.reset();
  ticks_.reset();
  tick_ = now_ns_ = 0;
  executed_.clear();
  sync_.begin();
  blind_.reset();
  inference_failure_.reset();
  is_under_way_ = false;
}

void ChunkPolicy::reset() noexcept {
  ++generation_;
  exchange_.forget();
  swings_.count = 0;
  start();
  begins_ = true;
  action_.restart();
}

std::int64_t ChunkPolicy::stand_by() noexcept {
  now_ns_ = clock_(context_);
  sync_.record_state(now_ns_);
  collect();
  return now_ns_;
}

ChunkPolicy::Answer ChunkPolicy::infer() noexcept {
  now_ns_ = clock_(context_);
  tick_ = std::max(tick_, ticks_.number(now_ns_));
  begins_ = executed_.empty();
  sync_.record_state(now_ns_);
  // No step of a chunk is executed without working cameras, however many remain.
  if (!sync_.has_sight(failure_)) {
    failure_.member = member_;
    return Answer::kNoTarget;
  }
  if (!begins_) swings_.add(joint_pos_, action_.command);
  bool is_finite = collect();
  if (is_finite && queue_.wants_chunk(tick_) && !exchange_.is_busy()) {
    ask();
    is_finite = collect();
  }
  if (!is_finite) return Answer::kNotFinite;
  if (!queue_.target(tick_, target)) return nothing();
  return all_finite(target.data(), target.data() + target.size()) ? Answer::kFinite
                                                                  : Answer::kNotFinite;
}

Numbers& ChunkPolicy::commit() noexcept {
  action_.set(target, joint_pos_);
  queue_.advance();
  executed_.push() = {now_ns_, tick_};
  return action_.command;
}

void ChunkPolicy::ask() noexcept {
  blind_.reset();
  Reason why;
  auto& request = under_way_;
  if (!sync_.snapshot(now_ns_, request.sensed, request.earlier, why)) {
    why.member = member_;
    blind_ = why;
    return;
  }
  is_under_way_ = true;
  request.generation = generation_;
  request.asked_ns = now_ns_;
  const auto steps = passed(request.sensed.time_ns);
  queue_.planned(tick_ - steps, request.planned);
  request.delay = lately_.empty() ? expected_delay_ : 0;
  for (std::size_t i = 0; i < lately_.size(); ++i) {
    request.delay = std::max(request.delay, lately_[i]);
  }
  request.delay = std::max(steps, request.delay);
  exchange_.ask(request);
}

bool ChunkPolicy::collect() noexcept {
  while (const auto* outcome = exchange_.outcome()) {
    const bool is_finite = outcome->generation != generation_ || take(*outcome);
    exchange_.drop();
    if (!is_finite) return false;
  }
  return true;
}

bool ChunkPolicy::take(const ChunkOutcome& outcome) noexcept {
  is_under_way_ = false;
  took_ns_ = outcome.ended_ns - outcome.began_ns;
  inference_failure_.reset();
  if (outcome.kind != ChunkOutcome::Kind::kChunk) {
    inference_failure_ = {outcome.kind, said(outcome.text)};
    return true;
  }
  const auto& chunk = outcome.chunk;
  if (!all_finite(chunk[0], chunk[chunk.count])) return false;
  const auto steps = passed(outcome.time_ns);
  if (outcome.continues) lately_.push() = steps;
  action_.read(last_target_);
  queue_.add(chunk, tick_ - steps, tick_, last_target_);
  if (queue_.left(tick_) == 0) {
    auto slow = because(Code::kSlowInference, milliseconds(took_ns_));
    slow.count = steps;
    inference_failure_ = {ChunkOutcome::Kind::kNoTarget, slow};
  }
  taken_.push() = {sequence_++, outcome.time_ns, tick_ - steps, tick_};
  return true;
}

std::int64_t ChunkPolicy::passed(std::int64_t time_ns) const noexcept {
  // The robot has held its pose since then, so it is where it was observed.
  if (executed_.empty() || executed_.back().first < time_ns) return 0;
  auto nearest = tick_;
  for (auto i = executed_.size(); i-- > 0;) {
    const auto& [now_ns, tick] = executed_[i];
    if (now_ns < time_ns - period_ns_ / 2) break;
    nearest = tick;
  }
  return tick_ - nearest;
}

ChunkPolicy::Answer ChunkPolicy::nothing() noexcept {
  auto answer = Answer::kNoTarget;
  if (blind_) {
    failure_ = *blind_;
  } else if (inference_failure_) {
    failure_ = inference_failure_->second;
    if (inference_failure_->first == ChunkOutcome::Kind::kBackendError) answer = Answer::kError;
  } else if (executed_.empty()) {
    failure_ = because(Code::kFirstAwaited);
  } else {
    const auto waited_ns = is_under_way_ ? now_ns_ - under_way_.asked_ns : 0;
    // The inference under way may already take longer than the last one did.
    failure_ = because(Code::kNoStepLeft, milliseconds(std::max(waited_ns, took_ns_)));
  }
  return answer;
}

bool ChunkPolicy::pop_chunk(TakenChunk& chunk) noexcept {
  if (taken_.empty()) return false;
  chunk = taken_[0];
  taken_.pop();
  return true;
}

}  // namespace policy_core
