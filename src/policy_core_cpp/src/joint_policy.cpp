// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/joint_policy.hpp"

#include <algorithm>
#include <cstring>

namespace policy_core {
namespace {

const policy_core_tensor* find(const policy_core_tensor* tensors, std::size_t count,
                               const std::string& name, std::size_t size) {
  const auto* found = std::find_if(tensors, tensors + count, [&](const policy_core_tensor& each) {
    return name == each.name;
  });
  if (found == tensors + count) {
    throw PlanError("model: expected the tensor " + name + ", found none of this name");
  }
  if (size != kAnySize && found->count != size) {
    throw PlanError("model: " + name + ": expected " + std::to_string(size) + " values, found " +
                    std::to_string(found->count));
  }
  return found;
}

}  // namespace

Tensor Tensor::input(const policy_core_runner& runner, const std::string& name, std::size_t size) {
  Tensor tensor;
  tensor.tensor_ = find(runner.inputs, runner.input_count, name, size);
  return tensor;
}

Tensor Tensor::output(const policy_core_runner& runner, const std::string& name,
                      std::size_t size) {
  Tensor tensor;
  tensor.tensor_ = find(runner.outputs, runner.output_count, name, size);
  return tensor;
}

void Tensor::write(const double* values) const noexcept {
  if (tensor_->dtype == POLICY_CORE_FLOAT32) {
    auto* data = static_cast<float*>(tensor_->data);
    for (std::size_t i = 0; i < tensor_->count; ++i) data[i] = static_cast<float>(values[i]);
  } else {
    std::copy(values, values + tensor_->count, static_cast<double*>(tensor_->data));
  }
}

void Tensor::read(double* values) const noexcept {
  if (tensor_->dtype == POLICY_CORE_FLOAT32) {
    const auto* data = static_cast<const float*>(tensor_->data);
    std::copy(data, data + tensor_->count, values);
  } else {
    const auto* data = static_cast<const double*>(tensor_->data);
    std::copy(data, data + tensor_->count, values);
  }
}

bool Tensor::is_finite() const noexcept {
  for (std::size_t i = 0; i < tensor_->count; ++i) {
    const bool is = tensor_->dtype == POLICY_CORE_FLOAT32
                        ? std::isfinite(static_cast<const float*>(tensor_->data)[i])
                        : std::isfinite(static_cast<const double*>(tensor_->data)[i]);
    if (!is) return false;
  }
  return true;
}

void Tensor::copy_from(const Tensor& other) const noexcept {
  std::memcpy(tensor_->data, other.tensor_->data, byte_count(*tensor_));
}

History::History(const Part& plan, std::size_t frame_size)
    : length_(static_cast<std::size_t>(plan.integer("length", 1, kMostValues))),
      frame_size_(frame_size),
      repeats_first_(plan.flag("repeat_first")),
      order_(plan.places("order", length_ * frame_size_)),
      vector_(order_.size()) {
  const auto size = static_cast<std::int64_t>(frame_size);
  plan.integer("frame_size", size, size);
  check_size("history", static_cast<std::int64_t>(length_), frame_size_);
  rings_.resize(2 * length_ * frame_size_);
  reset();
}

void History::reset() noexcept {
  std::fill(rings_.begin(), rings_.end(), 0.0);
  newest_ = 0;
  empty_ = true;
}

void History::write(const Numbers& frame) noexcept {
  const auto newest = static_cast<std::size_t>(newest_);
  for (std::size_t place = 0; place < 2 * length_; ++place) {
    const bool is_newest = place % length_ == newest;
    if (!is_newest && !(empty_ && repeats_first_)) continue;
    std::copy(frame.begin(), frame.end(),
              rings_.begin() + static_cast<std::ptrdiff_t>(place * frame_size_));
  }
  const double* window = rings_.data() + (newest + 1) * frame_size_;
  for (std::size_t i = 0; i < order_.size(); ++i) vector_[i] = window[order_[i]];
}

void History::advance() noexcept {
  empty_ = false;
  newest_ = (newest_ + 1) % static_cast<std::int64_t>(length_);
}

ObservationBuilder::ObservationBuilder(const Part& plan, RobotState& state,
                                       const policy_core_runner& runner)
    : flat_(state.flat()),
      index_(plan.places("index", flat_.size)),
      offset_(plan.numbers("offset", static_cast<std::int64_t>(index_.size()))),
      scale_(plan.numbers("scale", static_cast<std::int64_t>(index_.size()))),
      low_(plan.numbers("low", static_cast<std::int64_t>(index_.size()))),
      high_(plan.numbers("high", static_cast<std::int64_t>(index_.size()))),
      frame_(index_.size()),
      clips_(plan.flag("clips")) {
  if (plan.has_part("history")) history_.emplace(plan.at("history"), frame_.size());
  const auto size = history_ ? history_->vector().size() : frame_.size();
  if (plan.has("bound")) bound_ = plan.number("bound");
  if (plan.has("mean")) {
    mean_ = plan.numbers("mean", static_cast<std::int64_t>(size));
    divisor_ = plan.numbers("divisor", static_cast<std::int64_t>(size));
  }
  if (plan.has("normalised_bound")) normalised_bound_ = plan.number("normalised_bound");
  out_ = Tensor::input(runner, plan.text("input"), size);
}

void ObservationBuilder::reset() noexcept {
  if (history_) history_->reset();
}

void ObservationBuilder::advance() noexcept {
  if (history_) history_->advance();
}

void ObservationBuilder::write() noexcept {
  for (std::size_t i = 0; i < frame_.size(); ++i) {
    frame_[i] = (flat_[static_cast<std::size_t>(index_[i])] - offset_[i]) * scale_[i];
    if (clips_) frame_[i] = clip(frame_[i], low_[i], high_[i]);
  }
  if (history_) history_->write(frame_);
  auto& vector = history_ ? history_->vector() : frame_;
  normalise(vector);
  out_.write(vector.data());
}

void ObservationBuilder::normalise(Numbers& vector) const noexcept {
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (bound_) vector[i] = clip(vector[i], -*bound_, *bound_);
    if (mean_.empty()) continue;
    vector[i] = (vector[i] - mean_[i]) / divisor_[i];
    if (normalised_bound_) vector[i] = clip(vector[i], -*normalised_bound_, *normalised_bound_);
  }
}

GainOutputs::GainOutputs(const Part& plan, const policy_core_runner& runner, Numbers& gains)
    : gains_(gains),
      places_(plan.places("places", gains.size())),
      low_(plan.numbers("low", static_cast<std::int64_t>(places_.size()))),
      high_(plan.numbers("high", static_cast<std::int64_t>(places_.size()))) {
  std::size_t size = 0;
  for (const auto& name : plan.texts("outputs")) {
    outputs_.push_back(Tensor::output(runner, name, kAnySize));
    size += outputs_.back().size();
  }
  raw_.resize(size);
  source_ = plan.places("source", size, static_cast<std::int64_t>(places_.size()));
}

bool GainOutputs::read() noexcept {
  double* into = raw_.data();
  for (const auto& output : outputs_) {
    output.read(into);
    into += output.size();
  }
  return policy_core::is_finite(raw_);
}

bool GainOutputs::fill() noexcept {
  bool limited = false;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const double given = raw_[static_cast<std::size_t>(source_[i])];
    const double bounded = clip(given, low_[i], high_[i]);
    limited = limited || bounded != given;
    gains_[static_cast<std::size_t>(places_[i])] = bounded;
  }
  return limited;
}

ActionDecoder::ActionDecoder(const Part& plan, const policy_core_runner& runner)
    : Command(plan),
      raw(plan.numbers("low").size()),
      output_(Tensor::output(runner, plan.text("output"), raw.size())),
      source_(plan.places("source", raw.size(), static_cast<std::int64_t>(joints()))),
      driven_(plan.places("driven", joints(), static_cast<std::int64_t>(raw.size()))),
      scale_(plan.numbers("scale", static_cast<std::int64_t>(joints()))),
      offset_(plan.numbers("offset", static_cast<std::int64_t>(joints()))),
      per_scale_(plan.numbers("per_scale", static_cast<std::int64_t>(joints()))),
      low_(plan.numbers("low")),
      high_(plan.numbers("high", static_cast<std::int64_t>(raw.size()))),
      clips_(plan.flag("clips")) {
  if (plan.has_part("gain_outputs")) gain_outputs_.emplace(plan.at("gain_outputs"), runner, gains);
}

bool ActionDecoder::read() noexcept {
  output_.read(raw.data());
  return policy_core::is_finite(raw) && (!gain_outputs_ || gain_outputs_->read());
}

Numbers& ActionDecoder::decode() noexcept {
  if (clips_) {
    bool acts = false;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      acts = acts || clip(raw[i], low_[i], high_[i]) != raw[i];
    }
    clipped = acts ? bit(Rule::kActionClip) : 0;
  }
  if (gain_outputs_) {
    if (!clips_) clipped = 0;
    is_rescaled = true;
    if (gain_outputs_->fill()) clipped |= bit(Rule::kGainLimit);
  }
  for (std::size_t i = 0; i < command.size(); ++i) {
    const auto place = static_cast<std::size_t>(source_[i]);
    const double value = clips_ ? clip(raw[place], low_[place], high_[place]) : raw[place];
    command[i] = value * scale_[i] + offset_[i];
  }
  return command;
}

void ActionDecoder::raw_of(const Numbers& commanded, Span into) noexcept {
  for (std::size_t i = 0; i < into.size; ++i) {
    const auto joint = static_cast<std::size_t>(driven_[i]);
    into[i] = (commanded[joint] - offset_[joint]) * per_scale_[joint];
  }
}

JointPolicy::JointPolicy(const Part& plan, RobotState& state, const policy_core_runner& runner)
    : action_(plan.at("action"), runner), state_(state), runner_(runner) {
  for (const auto& observation : plan.list("observations")) {
    observations_.emplace_back(observation, state, runner);
  }
  for (auto& observation : observations_) {
    if (observation.remembers()) remembering_.push_back(&observation);
  }
  for (const auto& pair : plan.list("recurrent")) {
    auto input = Tensor::input(runner, pair.text("input"), kAnySize);
    auto output = Tensor::output(runner, pair.text("output"), input.size());
    if (input.raw().dtype != output.raw().dtype) throw PlanError("model: a state with two types");
    const auto size = static_cast<std::int64_t>(input.size());
    recurrent_.push_back({input, output,
                          pair.has("initial") ? pair.numbers("initial", size)
                                              : Numbers(input.size())});
    recurrent_.back().input.write(recurrent_.back().initial.data());
  }
  for (const auto& pair : plan.list("last_outputs")) {
    const auto field = state.find(pair.text("field"));
    last_outputs_.emplace_back(field, Tensor::output(runner, pair.text("output"), field.size));
  }
  failure_.code = Reason::Code::kModelError;
  last_action_ = state.find("last_action");
  if (last_action_.size != action_.raw.size()) throw PlanError("plan: last_action of another size");
}

void JointPolicy::reset() noexcept {
  tick_ = 0;
  state_.restart();
  for (const auto& each : recurrent_) each.input.write(each.initial.data());
  for (auto* observation : remembering_) observation->reset();
}

JointPolicy::Answer JointPolicy::infer() noexcept {
  begins_ = tick_ == 0;
  for (auto& observation : observations_) observation.write();
  failure_.text = runner_.run(runner_.context);
  if (failure_.text != 0) return Answer::kError;
  if (!action_.read()) return Answer::kNotFinite;
  for (const auto& each : recurrent_) {
    if (!each.output.is_finite()) return Answer::kNotFinite;
  }
  for (const auto& [field, output] : last_outputs_) {
    if (!output.is_finite()) return Answer::kNotFinite;
  }
  return Answer::kFinite;
}

Numbers& JointPolicy::commit() noexcept {
  std::copy(action_.raw.begin(), action_.raw.end(), last_action_.begin());
  for (const auto& each : recurrent_) each.input.copy_from(each.output);
  for (const auto& [field, output] : last_outputs_) output.read(field.data);
  next();
  return action_.decode();
}

void JointPolicy::watch() noexcept {
  for (auto* observation : remembering_) observation->write();
  next();
}

void JointPolicy::next() noexcept {
  ++tick_;
  state_.advance();
  for (auto* observation : remembering_) observation->advance();
}

}  // namespace policy_core
