// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "policy_core/table.hpp"
#include "policy_core/vector.hpp"

namespace policy_core {

/// Estimates the base's velocity from the legs and the IMU, sample by sample. Equivalent to
/// `policy_core.estimation.velocity_estimator`.
class VelocityEstimator {
 public:
  /// Measurements at one time, all finite.
  struct Sample {
    /// Time since the previous sample; a sample with 0 or less is ignored.
    double step_s;
    /// Joint positions and velocities [joint_count], rad and rad/s.
    const double *joint_pos, *joint_vel;
    /// Rotation body to world, of unit length.
    Quaternion quat_xyzw;
    /// Angular velocity and acceleration in the body frame, rad/s and m/s^2; +9.81 on z at rest.
    Vector3 ang_vel_body, lin_acc_body;
  };

  /// `plan` is the part `estimation` of a plan.
  explicit VelocityEstimator(const Part& plan);

  /// Resets to the initial state.
  void restart() noexcept;
  void update(const Sample& sample) noexcept;

  std::size_t joint_count() const noexcept { return joint_count_; }
  /// Velocity of the base in the body frame, m/s.
  const Vector3& lin_vel_body() const noexcept { return lin_vel_body_; }
  /// Variance of each component, m^2/s^2.
  double variance() const noexcept { return variance_; }
  /// Probability that each foot point is in stance.
  const Numbers& standing() const noexcept { return standing_; }
  /// Number of stance points, low-pass filtered.
  double support() const noexcept { return support_; }
  /// Height of the base above the stance points; NaN until the first stance.
  double height_m() const noexcept { return height_m_; }

 private:
  struct Joint {
    std::size_t place;
    Vector3 axis, offset;
    /// The joint's rotation is constant + sin * sine + cos * cosine.
    std::array<double, 9> constant, sine, cosine;
  };
  struct Leg {
    /// In reverse order: the last joint first.
    std::vector<Joint> joints;
    std::vector<Vector3> tips, points;
    Numbers radii;
    Vector3 turn{}, moment{};

    Leg(const Part& plan, std::size_t joint_count);
    void update(const double* joint_pos, const double* joint_vel) noexcept;
  };
  struct Seen {
    double weight, height_m;
    Vector3 unexpected;
  };

  void begin() noexcept;
  void predict(double step_s, const Vector3& up, const Sample& sample) noexcept;
  void correct(double step_s, const Vector3& up, const Vector3& turn) noexcept;
  Seen judge(const Vector3& up, const Vector3& turn, const Vector3& moves) noexcept;

  std::size_t joint_count_;
  Vector3 imu_m_;
  std::vector<Leg> legs_;
  Vector3 lin_vel_body_, imu_vel_, bias_;
  double variance_, shared_, bias_variance_, support_, lost_s_, height_m_;
  Numbers standing_;
};

}  // namespace policy_core
