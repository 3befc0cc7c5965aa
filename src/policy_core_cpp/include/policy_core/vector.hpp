// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Arithmetic with the same rounding, value by value, as in NumPy, because results must equal those
// of the Python core bit for bit. The library is compiled with -ffp-contract=off.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "policy_core: compile this file with -fno-fast-math: -ffast-math removes the checks for NaN"
#endif

namespace policy_core {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();

using Vector3 = std::array<double, 3>;
/// Quaternion in the order x, y, z, w.
using Quaternion = std::array<double, 4>;

inline Vector3 sum(const Vector3& a, const Vector3& b) noexcept {
  return {a[0] + b[0], a[1] + b[1], a[2] + b[2]};
}

inline Vector3 difference(const Vector3& a, const Vector3& b) noexcept {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

/// An array that another object owns.
struct Span {
  double* data = nullptr;
  std::size_t size = 0;

  double& operator[](std::size_t i) const { return data[i]; }
  double* begin() const { return data; }
  double* end() const { return data + size; }
};

/// Like np.maximum and np.minimum: the result is NaN if either value is.
inline double maximum(double a, double b) noexcept {
  return std::isnan(a) ? a : (std::isnan(b) || a < b ? b : a);
}
inline double minimum(double a, double b) noexcept {
  return std::isnan(a) ? a : (std::isnan(b) || b < a ? b : a);
}

/// Like np.clip.
inline double clip(double value, double low, double high) noexcept {
  return minimum(maximum(value, low), high);
}

/// Like np.fmax and np.fmin: NaN is ignored.
inline double fmaximum(double a, double b) noexcept { return std::isnan(a) ? b : (b > a ? b : a); }
inline double fminimum(double a, double b) noexcept { return std::isnan(a) ? b : (b < a ? b : a); }

/// True if the sum of the squares is finite, like `math.isfinite(x.dot(x))`.
template <class Values>
bool is_finite(const Values& values) noexcept {
  double sum = 0.0;
  for (double value : values) sum += value * value;
  return std::isfinite(sum);
}

/// The length of a vector [3].
inline double length(Span v) noexcept {
  return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

inline double seconds(std::int64_t ns) noexcept { return static_cast<double>(ns) * 1e-9; }

}  // namespace policy_core
