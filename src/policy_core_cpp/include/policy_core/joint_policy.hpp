// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy_core/guard.hpp"
#include "policy_core/policy.hpp"
#include "policy_core/runner.h"
#include "policy_core/state.hpp"

namespace policy_core {

inline std::size_t byte_count(const policy_core_tensor& tensor) {
  return tensor.count * (tensor.dtype == POLICY_CORE_FLOAT32 ? sizeof(float) : sizeof(double));
}

constexpr std::size_t kAnySize = static_cast<std::size_t>(-1);

/// A model's input or output, which is read and written as float64.
class Tensor {
 public:
  Tensor() = default;
  /// Throws PlanError if the runner has no such tensor, or its size differs.
  static Tensor input(const policy_core_runner& runner, const std::string& name, std::size_t size);
  static Tensor output(const policy_core_runner& runner, const std::string& name,
                       std::size_t size);

  std::size_t size() const noexcept { return tensor_->count; }
  void write(const double* values) const noexcept;
  void read(double* values) const noexcept;
  bool is_finite() const noexcept;
  void copy_from(const Tensor& other) const noexcept;
  const policy_core_tensor& raw() const noexcept { return *tensor_; }

 private:
  const policy_core_tensor* tensor_ = nullptr;
};

/// The latest frames of an observation, as one vector.
class History {
 public:
  /// `frame_size` is the number of values in a frame.
  History(const Part& plan, std::size_t frame_size);

  void reset() noexcept;
  void write(const Numbers& frame) noexcept;
  void advance() noexcept;
  Numbers& vector() noexcept { return vector_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("newest", newest_);
    v.value("empty", empty_);
    v.array("rings", {rings_.data(), rings_.size()}, {2, length_, frame_size_});
  }

 private:
  std::size_t length_, frame_size_;
  bool repeats_first_;
  Integers order_;
  Numbers rings_, vector_;
  std::int64_t newest_ = 0;
  bool empty_ = true;
};

/// Writes one model input from the robot's state: gathers, offsets, scales and clips values, adds
/// their history, and normalises them.
class ObservationBuilder {
 public:
  ObservationBuilder(const Part& plan, RobotState& state, const policy_core_runner& runner);

  void reset() noexcept;
  void write() noexcept;
  void advance() noexcept;
  bool remembers() const noexcept { return history_.has_value(); }

  template <class Visitor>
  void visit(Visitor& v) {
    v.optional_part("history", history_);
  }

 private:
  void normalise(Numbers& vector) const noexcept;

  Span flat_;
  Integers index_;
  Numbers offset_, scale_, low_, high_, frame_;
  bool clips_;
  std::optional<History> history_;
  std::optional<double> bound_, normalised_bound_;
  Numbers mean_, divisor_;
  Tensor out_;
};

/// Replaces a command's gains with those that a model outputs, each clipped to its bounds.
class GainOutputs {
 public:
  /// `gains` are those of the command [2, joints].
  GainOutputs(const Part& plan, const policy_core_runner& runner, Numbers& gains);

  /// Reads the outputs; returns true if all values are finite.
  bool read() noexcept;
  /// Writes the gains to the command; returns true if any was clipped.
  bool fill() noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.array("gains", {gains_.data(), gains_.size()}, {2, gains_.size() / 2});
  }

 private:
  Numbers& gains_;
  std::vector<Tensor> outputs_;
  Integers places_, source_;
  Numbers low_, high_, raw_;
};

/// Decodes a model's output to one command value per joint: offset + scale x clip(output).
class ActionDecoder : public Command {
 public:
  ActionDecoder(const Part& plan, const policy_core_runner& runner);
  ActionDecoder(const ActionDecoder&) = delete;
  ActionDecoder& operator=(const ActionDecoder&) = delete;

  /// Reads the output into `raw`; returns true if all values are finite.
  bool read() noexcept;
  Numbers& decode() noexcept;
  /// Writes the output that would have produced this command [joints].
  void raw_of(const Numbers& command, Span into) noexcept;

  Numbers raw;

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("is_rescaled", is_rescaled);
    v.rules("clipped", clipped);
    v.array("command", {command.data(), command.size()});
    v.array("raw", {raw.data(), raw.size()});
    v.optional_part("gain_outputs", gain_outputs_);
  }

 private:
  Tensor output_;
  Integers source_, driven_;
  Numbers scale_, offset_, per_scale_, low_, high_;
  bool clips_;
  std::optional<GainOutputs> gain_outputs_;
};

/// Runs a model on the robot's state. `infer` and `commit` are separate, so that a late result
/// changes neither history, last action nor recurrent state.
class JointPolicy : public Policy {
 public:
  JointPolicy(const Part& plan, RobotState& state, const policy_core_runner& runner);

  void reset() noexcept override;
  /// Does nothing, since the policy counts ticks and not time.
  void pause(std::int64_t) noexcept override {}
  Answer infer() noexcept override;
  Numbers& commit() noexcept override;
  Command& action() noexcept override { return action_; }
  ActionDecoder& decoder() noexcept { return action_; }
  bool begins() const noexcept override { return begins_; }
  /// Updates histories and clocks in a tick, without running the model.
  void watch() noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.part("action", action_);
    auto remembering = v.sequence("remembering", remembering_.size());
    for (std::size_t i = 0; i < remembering_.size(); ++i) remembering.part(i, *remembering_[i]);
    auto recurrent = v.mapping("recurrent");
    for (auto& each : recurrent_) recurrent.tensor(each.input);
    v.value("tick", tick_);
    v.value("begins", begins_);
  }

 private:
  void next() noexcept;

  ActionDecoder action_;
  RobotState& state_;
  const policy_core_runner& runner_;
  std::vector<ObservationBuilder> observations_;
  std::vector<ObservationBuilder*> remembering_;
  struct Recurrent {
    Tensor input, output;
    /// Initial value of the input.
    Numbers initial;
  };
  std::vector<Recurrent> recurrent_;
  std::vector<std::pair<Span, Tensor>> last_outputs_;
  Span last_action_;
  std::int64_t tick_ = 0;
  bool begins_ = true;
};

}  // namespace policy_core
