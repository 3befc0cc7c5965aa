// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/velocity_estimator.hpp"

#include <algorithm>

namespace policy_core {
namespace {

// As in velocity_estimator.py, which documents them.
constexpr double kGravity = 9.81, kLongestStepS = 0.1, kSteadyStepS = 0.025, kAdaptsS = 0.2;
constexpr double kSupportS = 0.3, kLost = 0.3, kLostS = 0.4;
constexpr double kStartVariance = 1.0, kPointStd = 0.02, kPointCorrelationS = 0.03;
constexpr double kDrift = 0.1, kSampled = 1.5, kBiasStd = 0.3, kBiasDrift = 0.05;
constexpr double kSwingStd = 1.0, kStands = 0.05, kLargestOdds = 50.0;

Vector3 cross(const Vector3& a, const Vector3& b) noexcept {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

Vector3 times(double factor, const Vector3& v) noexcept {
  return {factor * v[0], factor * v[1], factor * v[2]};
}

double dot(const Vector3& a, const Vector3& b) noexcept {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

Vector3 turned(const std::array<double, 9>& m, const Vector3& v) noexcept {
  return {m[0] * v[0] + m[1] * v[1] + m[2] * v[2], m[3] * v[0] + m[4] * v[1] + m[5] * v[2],
          m[6] * v[0] + m[7] * v[1] + m[8] * v[2]};
}

/// Row `i` of an array in a plan.
template <std::size_t size>
std::array<double, size> row(const Numbers& values, std::size_t i) {
  std::array<double, size> found{};
  std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(size * i), size, found.begin());
  return found;
}

}  // namespace

VelocityEstimator::Leg::Leg(const Part& plan, std::size_t joint_count)
    : radii(plan.numbers("radii")) {
  const auto& places = plan.places("place", joint_count);
  const auto count = static_cast<std::int64_t>(places.size());
  const auto &axis = plan.numbers("axis", 3 * count), &offset = plan.numbers("offset", 3 * count);
  const auto& constant = plan.numbers("constant", 9 * count);
  const auto &sine = plan.numbers("sine", 9 * count), &cosine = plan.numbers("cosine", 9 * count);
  for (std::size_t i = 0; i < places.size(); ++i) {
    joints.push_back({static_cast<std::size_t>(places[i]), row<3>(axis, i), row<3>(offset, i),
                      row<9>(constant, i), row<9>(sine, i), row<9>(cosine, i)});
  }
  const auto& tip = plan.numbers("tips", 3 * static_cast<std::int64_t>(radii.size()));
  for (std::size_t i = 0; i < radii.size(); ++i) tips.push_back(row<3>(tip, i));
  points = tips;
}

void VelocityEstimator::Leg::update(const double* joint_pos, const double* joint_vel) noexcept {
  std::copy(tips.begin(), tips.end(), points.begin());
  turn = moment = {};
  for (const auto& joint : joints) {
    const double sine = std::sin(joint_pos[joint.place]), cosine = std::cos(joint_pos[joint.place]);
    std::array<double, 9> rotation;
    for (std::size_t i = 0; i < rotation.size(); ++i) {
      rotation[i] = joint.constant[i] + sine * joint.sine[i] + cosine * joint.cosine[i];
    }
    turn = turned(rotation, sum(turn, times(joint_vel[joint.place], joint.axis)));
    moment = sum(turned(rotation, moment), cross(turn, joint.offset));
    for (auto& point : points) point = sum(turned(rotation, point), joint.offset);
  }
}

VelocityEstimator::VelocityEstimator(const Part& plan)
    : joint_count_(static_cast<std::size_t>(plan.integer("joint_count", 1, kMostValues))),
      imu_m_(row<3>(plan.numbers("imu_m", 3), 0)) {
  std::size_t points = 0;
  for (const auto& part : plan.list("legs")) {
    points += legs_.emplace_back(part, joint_count_).points.size();
  }
  standing_.resize(points);
  restart();
}

void VelocityEstimator::restart() noexcept {
  lin_vel_body_ = {};
  std::fill(standing_.begin(), standing_.end(), 0.0);
  height_m_ = kNan;
  begin();
}

void VelocityEstimator::begin() noexcept {
  imu_vel_ = bias_ = {};
  variance_ = kStartVariance;
  shared_ = support_ = lost_s_ = 0.0;
  bias_variance_ = kBiasStd * kBiasStd;
}

void VelocityEstimator::update(const Sample& sample) noexcept {
  auto step_s = sample.step_s;
  if (step_s <= 0.0) {
    if (step_s < 0.0) begin();
    return;
  }
  if (step_s > kLongestStepS) {
    variance_ = kStartVariance;
    shared_ = 0.0;
    step_s = kLongestStepS;
  }
  if (step_s > kSteadyStepS) support_ = 0.0;
  if (lost_s_ > kLostS) begin();
  for (auto& leg : legs_) leg.update(sample.joint_pos, sample.joint_vel);
  const auto [x, y, z, w] = sample.quat_xyzw;
  const Vector3 up{2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)};
  predict(step_s, up, sample);
  correct(step_s, up, sample.ang_vel_body);
}

void VelocityEstimator::predict(double step_s, const Vector3& up, const Sample& sample) noexcept {
  const auto turning = cross(sample.ang_vel_body, imu_vel_);
  for (std::size_t i = 0; i < 3; ++i) {
    imu_vel_[i] += step_s * (sample.lin_acc_body[i] - bias_[i] - kGravity * up[i] - turning[i]);
  }
  variance_ += step_s * (kDrift * kDrift + step_s * (kSampled * kSampled) - 2.0 * shared_ +
                         step_s * bias_variance_);
  shared_ -= step_s * bias_variance_;
  bias_variance_ += step_s * (kBiasDrift * kBiasDrift);
}

void VelocityEstimator::correct(double step_s, const Vector3& up, const Vector3& turn) noexcept {
  const auto lever = cross(turn, imu_m_);
  const auto seen = judge(up, turn, difference(lever, imu_vel_));
  support_ += std::min(1.0, step_s / kSupportS) * (seen.weight - support_);
  lost_s_ = support_ >= kLost ? 0.0 : lost_s_ + step_s;
  const auto information =
      seen.weight * step_s / (kPointStd * kPointStd * kPointCorrelationS);
  const auto gain = variance_ * information / (1.0 + variance_ * information);
  const auto bias_gain = gain * shared_ / variance_;
  bias_variance_ -= bias_gain * shared_;
  variance_ = (1.0 - gain) * variance_;
  shared_ = (1.0 - gain) * shared_;
  if (seen.weight > 0.0) {
    imu_vel_ = sum(imu_vel_, times(gain, seen.unexpected));
    bias_ = sum(bias_, times(bias_gain, seen.unexpected));
    const auto share = std::min(1.0, seen.weight * step_s / kAdaptsS);
    height_m_ = std::isfinite(height_m_) ? height_m_ + share * (seen.height_m - height_m_)
                                         : seen.height_m;
  }
  lin_vel_body_ = difference(imu_vel_, lever);
}

VelocityEstimator::Seen VelocityEstimator::judge(const Vector3& up, const Vector3& turn,
                                                 const Vector3& moves) noexcept {
  const double stands = variance_ + kPointStd * kPointStd;
  const double swings = variance_ + kSwingStd * kSwingStd;
  const double ratio = stands / swings;
  const double prior = (1.0 - kStands) / kStands * ratio * std::sqrt(ratio);
  const double sharpness = 0.5 * (1.0 / stands - 1.0 / swings);
  double weight = 0.0, below = 0.0;
  Vector3 shown{};
  auto standing = standing_.begin();
  for (const auto& leg : legs_) {
    const auto turn_of_leg = sum(turn, leg.turn), moves_of_leg = sum(moves, leg.moment);
    for (std::size_t i = 0; i < leg.points.size(); ++i) {
      const auto contact = difference(leg.points[i], times(leg.radii[i], up));
      const auto unexpected = difference(moves_of_leg, cross(turn_of_leg, contact));
      const auto odds = std::min(sharpness * dot(unexpected, unexpected), kLargestOdds);
      const auto stance = 1.0 / (1.0 + prior * std::exp(odds));
      *standing++ = stance;
      weight += stance;
      below += stance * dot(contact, up);
      shown = sum(shown, times(stance, unexpected));
    }
  }
  if (!(weight > 0.0)) return {weight, kNan, {}};
  return {weight, -below / weight, {shown[0] / weight, shown[1] / weight, shown[2] / weight}};
}

}  // namespace policy_core
