// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "policy_core/guard.hpp"
#include "policy_core/input.hpp"
#include "policy_core/ring.hpp"
#include "policy_core/state.hpp"

namespace policy_core {

/// Names of an observation's cameras and fields, and the fields' sizes.
struct SensedNames {
  std::vector<std::string> cameras, fields;
  std::vector<std::size_t> sizes;
};

/// The observation at `time_ns`: for each camera, the number (from 1) of a frame that the host has
/// stored (0: a frame of a restored state, without image); and all fields in one array.
struct SensedValues {
  const SensedNames* names = nullptr;
  std::int64_t time_ns = 0;
  Integers frames;
  Numbers fields;
};

/// A recent value of one input with its time: values of the state, or the number of a frame.
struct Recent {
  std::int64_t time_ns = 0, frame = 0;
  Numbers values;
};

/// Numbers the frames of one camera, and detects when they stop changing.
class FrameBuffer {
 public:
  FrameBuffer(double frozen_s, std::size_t joints) : frozen_s_(frozen_s), seen_from_(joints) {}

  /// Adds a new encoded frame, captured at `time_ns`; returns its number.
  std::int64_t add(const std::uint8_t* data, std::size_t size, std::int64_t time_ns) noexcept;
  /// Restarts the motion count: between runs, the robot may move without `note_joints` being
  /// called.
  void forget_motion() noexcept;
  void note_joints(Span joint_pos) noexcept;
  bool is_frozen() const noexcept { return repeated_s_ > frozen_s_ && is_repeating(); }
  void clear() noexcept;

  std::int64_t equal_frames() const noexcept { return repeats_ + 1; }
  /// True if its frames repeat although the joints move, however briefly.
  bool is_repeating() const noexcept;
  double moved_rad() const noexcept { return moved_rad_; }
  const Ring<Recent>& recent() const noexcept { return recent_; }

  /// Part of a frame's bytes.
  struct Content {
    std::size_t size = 0;
    std::array<std::uint8_t, 2000> bytes{};
  };
  const Content& content() const noexcept { return content_; }

  template <class Visitor>
  void visit(Visitor& v) {
    auto recent = v.mapping("recent");
    recent.plain("entries", recent_);
    v.plain("content", content_);
    v.value("repeats", repeats_);
    v.value("changed_ns", changed_ns_);
    v.value("repeated_s", repeated_s_);
    v.some("seen_from", seen_from_, seen_size_);
    v.value("moved_rad", moved_rad_);
  }

 private:
  double frozen_s_;
  Ring<Recent> recent_{3};
  std::int64_t count_ = 0;
  Content content_;
  std::int64_t repeats_ = 0;
  Time changed_ns_;
  double repeated_s_ = 0.0;
  Numbers seen_from_;
  std::size_t seen_size_ = 0;
  double moved_rad_ = 0.0;
};

/// Combines inputs of the same time into observations; equivalent to
/// `policy_core.members.chunk.observation_sync.ObservationSync`.
class ObservationSync {
 public:
  ObservationSync(const Part& plan, RobotState& state, const std::vector<Input>& inputs);
  ObservationSync(const ObservationSync&) = delete;

  /// An observation with the memory that `snapshot` needs; and the number of earlier observations.
  SensedValues snapshot_like() const;
  std::size_t earlier() const noexcept { return steps_.capacity(); }

  void record_state(std::int64_t now_ns) noexcept;
  /// Returns true if all cameras work; otherwise writes the reason.
  bool has_sight(Reason& why) const noexcept;
  /// Writes the newest observation and those of the previous steps; if there is none, writes the
  /// reason and returns false.
  bool snapshot(std::int64_t now_ns, SensedValues& newest, std::vector<SensedValues>& earlier,
                Reason& why) noexcept;
  /// Begins a run, without observations or motion of the previous one.
  void begin() noexcept;
  void forget_steps() noexcept;
  FrameBuffer& frames(std::size_t camera) noexcept { return frames_[camera]; }
  std::size_t cameras() const noexcept { return frames_.size(); }
  /// The number of a camera's oldest frame to which a request may still refer; 0 for a frame of a
  /// restored state.
  std::int64_t oldest_frame(std::size_t camera) const noexcept;

  /// An observation with the time of its tick.
  struct Step {
    std::int64_t tick_ns = 0;
    SensedValues sensed;
  };

  template <class Visitor>
  void visit(Visitor& v) {
    auto frames = v.mapping("frames");
    for (std::size_t i = 0; i < frames_.size(); ++i) {
      frames.part(names_.cameras[i].c_str(), frames_[i]);
    }
    auto fields = v.mapping("fields");
    for (auto& field : fields_) {
      auto recent = fields.mapping(field.input->name().c_str());
      recent.plain("entries", field.recent);
    }
    v.steps(steps_, newest_, has_newest_);
  }

 private:
  struct Field {
    Span values;
    const Input* input;
    Ring<Recent> recent;
  };

  void record_step(std::int64_t now_ns) noexcept;
  bool observe(std::int64_t now_ns, SensedValues& into, Reason& why) const noexcept;

  SensedNames names_;
  std::vector<FrameBuffer> frames_;
  std::vector<Field> fields_;
  Span joint_pos_;
  bool by_frame_time_;
  std::int64_t tolerance_ns_, period_ns_;
  Ring<Step> steps_;
  Step newest_;
  bool has_newest_ = false;
};

}  // namespace policy_core
