// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/observation_sync.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace policy_core {
namespace {

// Explained in `policy_core.members.chunk.observation_sync` and `observation.pairing`.
constexpr std::size_t kCompared = 1000, kValues = 32;
/// Limit on earlier observations, far more than a policy takes.
constexpr std::int64_t kMostEarlier = 1000;
constexpr std::int64_t kFrozenFrames = 10;
constexpr double kFrozenRad = 0.1;
using Code = Reason::Code;

std::int64_t newest_ns(const Ring<Recent>& recent) {
  auto found = recent[0].time_ns;
  for (std::size_t i = 1; i < recent.size(); ++i) found = std::max(found, recent[i].time_ns);
  return found;
}

/// Of two equally near values, the later.
const Recent& nearest(const Ring<Recent>& recent, std::int64_t time_ns) {
  const auto* found = &recent.back();
  for (auto i = recent.size(); i-- > 0;) {
    const auto& each = recent[i];
    if (std::llabs(each.time_ns - time_ns) < std::llabs(found->time_ns - time_ns)) found = &each;
  }
  return *found;
}

Reason unseen(Code code, std::size_t camera, double a = 0.0) {
  auto why = because(code, a);
  why.place = static_cast<std::int64_t>(camera);
  return why;
}

}  // namespace

std::int64_t FrameBuffer::add(const std::uint8_t* data, std::size_t size,
                              std::int64_t time_ns) noexcept {
  auto& entry = recent_.push();
  entry.time_ns = time_ns;
  entry.frame = ++count_;
  const auto stride = std::max<std::size_t>(1, size / kCompared);
  const auto compared = (size + stride - 1) / stride;
  bool is_equal = compared == content_.size;
  for (std::size_t i = 0; i < compared; ++i) {
    is_equal = is_equal && content_.bytes[i] == data[i * stride];
    content_.bytes[i] = data[i * stride];
  }
  content_.size = compared;
  repeats_ = is_equal ? repeats_ + 1 : 0;
  if (!changed_ns_ || !is_repeating()) changed_ns_ = time_ns;
  repeated_s_ = seconds(time_ns - *changed_ns_);
  return count_;
}

void FrameBuffer::forget_motion() noexcept {
  seen_size_ = 0;
  moved_rad_ = 0.0;
}

void FrameBuffer::note_joints(Span joint_pos) noexcept {
  if (repeats_ == 0 || seen_size_ == 0) {
    std::copy(joint_pos.begin(), joint_pos.end(), seen_from_.begin());
    seen_size_ = joint_pos.size;
    moved_rad_ = 0.0;
    return;
  }
  for (std::size_t i = 0; i < joint_pos.size; ++i) {
    moved_rad_ = std::max(moved_rad_, std::fabs(joint_pos[i] - seen_from_[i]));
  }
}

bool FrameBuffer::is_repeating() const noexcept {
  return repeats_ >= kFrozenFrames && moved_rad_ >= kFrozenRad;
}

void FrameBuffer::clear() noexcept {
  recent_.clear();
  content_.size = 0;
  repeats_ = 0;
  changed_ns_.reset();
  repeated_s_ = 0.0;
  forget_motion();
}

ObservationSync::ObservationSync(const Part& plan, RobotState& state,
                                 const std::vector<Input>& inputs)
    : names_{plan.texts("cameras"), plan.texts("fields"), {}},
      joint_pos_(state.find("joint_pos")),
      by_frame_time_(plan.flag("by_frame_time")),
      tolerance_ns_(plan.count("tolerance_ns")),
      period_ns_(plan.count("period_ns")),
      steps_(0) {
  const auto& frozen_s =
      plan.numbers("frozen_s", static_cast<std::int64_t>(names_.cameras.size()));
  for (double limit_s : frozen_s) frames_.emplace_back(limit_s, joint_pos_.size);
  const auto& places = plan.places("inputs", inputs.size(),
                                   static_cast<std::int64_t>(names_.fields.size()));
  std::size_t size = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto values = state.find(names_.fields[i]);
    if (!values.size) throw PlanError("plan: state: expected " + names_.fields[i]);
    names_.sizes.push_back(values.size);
    size += values.size;
    check_size("sync.fields", kValues, size);
    Recent like;
    like.values.resize(values.size);
    fields_.push_back({values, &inputs[static_cast<std::size_t>(places[i])],
                       Ring<Recent>(kValues, like)});
  }
  newest_.sensed = snapshot_like();
  const auto earlier = plan.integer("earlier", 0, kMostEarlier);
  check_size("sync.earlier", earlier, size);
  steps_ = Ring<Step>(static_cast<std::size_t>(earlier), newest_);
}

SensedValues ObservationSync::snapshot_like() const {
  std::size_t size = 0;
  for (auto each : names_.sizes) size += each;
  return {&names_, 0, Integers(names_.cameras.size()), Numbers(size)};
}

void ObservationSync::record_state(std::int64_t now_ns) noexcept {
  for (auto& field : fields_) {
    auto& entry = field.recent.push();
    entry.time_ns = field.input->measured_ns().value_or(now_ns);
    std::copy(field.values.begin(), field.values.end(), entry.values.begin());
  }
  for (auto& buffer : frames_) buffer.note_joints(joint_pos_);
  if (steps_.capacity()) record_step(now_ns);
}

void ObservationSync::record_step(std::int64_t now_ns) noexcept {
  if (has_newest_) {
    if (static_cast<double>(now_ns - newest_.tick_ns) > 1.5 * static_cast<double>(period_ns_)) {
      steps_.clear();
    } else if (now_ns != newest_.tick_ns) {
      steps_.push() = newest_;
    }
  }
  Reason why;
  has_newest_ = observe(now_ns, newest_.sensed, why);
  newest_.tick_ns = now_ns;
  if (!has_newest_) forget_steps();
}

std::int64_t ObservationSync::oldest_frame(std::size_t camera) const noexcept {
  const auto& recent = frames_[camera].recent();
  auto oldest = has_newest_ ? newest_.sensed.frames[camera] : recent.back().frame;
  for (std::size_t i = 0; i < recent.size(); ++i) oldest = std::min(oldest, recent[i].frame);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    oldest = std::min(oldest, steps_[i].sensed.frames[camera]);
  }
  return oldest;
}

void ObservationSync::begin() noexcept {
  forget_steps();
  for (auto& buffer : frames_) buffer.forget_motion();
}

void ObservationSync::forget_steps() noexcept {
  steps_.clear();
  has_newest_ = false;
}

bool ObservationSync::has_sight(Reason& why) const noexcept {
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    const auto& buffer = frames_[i];
    if (!buffer.is_frozen()) continue;
    why = unseen(Code::kFrozenCamera, i, buffer.moved_rad());
    why.count = buffer.equal_frames();
    return false;
  }
  return true;
}

bool ObservationSync::snapshot(std::int64_t now_ns, SensedValues& newest,
                               std::vector<SensedValues>& earlier, Reason& why) noexcept {
  if (steps_.capacity() && has_newest_ && newest_.tick_ns == now_ns) {
    newest = newest_.sensed;
  } else if (!observe(now_ns, newest, why)) {
    return false;
  }
  // Missing steps are filled with the first known step.
  const auto missing = earlier.size() - steps_.size();
  for (std::size_t i = 0; i < earlier.size(); ++i) {
    const auto known = i < missing ? 0 : i - missing;
    earlier[i] = steps_.empty() ? newest : steps_[known].sensed;
  }
  return true;
}

bool ObservationSync::observe(std::int64_t now_ns, SensedValues& into, Reason& why) const noexcept {
  auto time_ns = now_ns;
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    if (frames_[i].recent().empty()) {
      why = unseen(Code::kNoFrame, i);
      return false;
    }
    time_ns = std::min(time_ns, newest_ns(frames_[i].recent()));
  }
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    const auto& recent = frames_[i].recent();
    const auto& frame = by_frame_time_ ? nearest(recent, time_ns) : recent.back();
    const auto apart_ns = std::llabs(frame.time_ns - time_ns);
    if (by_frame_time_ && apart_ns > tolerance_ns_) {
      why = unseen(Code::kFramesApart, i, static_cast<double>(apart_ns) * 1e-6);
      return false;
    }
    into.frames[i] = frame.frame;
  }
  auto out = into.fields.begin();
  for (const auto& field : fields_) {
    const auto& values =
        (by_frame_time_ ? nearest(field.recent, time_ns) : field.recent.back()).values;
    out = std::copy(values.begin(), values.end(), out);
  }
  into.time_ns = by_frame_time_ ? time_ns : now_ns;
  return true;
}

}  // namespace policy_core
