// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace policy_core {

/// A plan cannot be used; the message states the place, what was expected and what was found.
class PlanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Numbers = std::vector<double>;
using Integers = std::vector<std::int64_t>;

/// Maximum absolute value of an integer in a plan, so that sums of thousands do not overflow.
constexpr std::int64_t kLargestInteger = 1'000'000'000'000'000;
/// Maximum size of arrays whose size a plan states as a number: 8 MiB of float64.
constexpr std::int64_t kMostValues = 1 << 20;

/// Throws PlanError if an array of this size would have too many values.
void check_size(const std::string& name, std::int64_t rows, std::size_t columns);

/// The CRC-32 of bytes, as in zlib, to check that a file is the one from which a plan was made.
std::uint32_t crc32(const std::uint8_t* data, std::size_t size) noexcept;

/// A plan's named arrays of numbers and texts, as `policy_core.plan` writes them, read once when it
/// is opened. Names have dots: `run.bounds.margin`.
class Table {
 public:
  /// Reads a plan's file. `digest` is the SHA-256 of the bundle's `policy.yaml` or `set.yaml`, 64
  /// hex digits. Throws PlanError if the file is missing or damaged, or was made from another
  /// bundle.
  static Table open(const std::string& path, const std::string& digest);
  /// Reads a plan's file, but accepts the plan of any bundle.
  static Table open(const std::string& path);
  /// Reads a plan from memory. Throws PlanError if it is damaged or has another version.
  static Table parse(const std::uint8_t* data, std::size_t size);

  /// The SHA-256 of the bundle, in hex digits.
  const std::string& digest() const { return digest_; }

 private:
  friend class Part;
  using Value = std::variant<Numbers, Integers, std::vector<std::string>>;
  std::map<std::string, Value> values_;
  std::string digest_;
};

/// The values of a table whose names begin with a prefix. The table must outlive it. Getters throw
/// PlanError if a value is missing or has another type.
class Part {
 public:
  explicit Part(const Table& table, std::string prefix = "")
      : table_(&table), prefix_(std::move(prefix)) {}

  Part at(const std::string& name) const { return Part(*table_, prefix_ + name + "."); }
  bool has(const std::string& name) const;
  /// True if there is any value below this name.
  bool has_part(const std::string& name) const;

  /// An array of `size` numbers, or of any length if `size` is negative.
  const Numbers& numbers(const std::string& name, std::int64_t size = -1) const;
  const Integers& integers(const std::string& name, std::int64_t size = -1) const;
  const std::vector<std::string>& texts(const std::string& name) const;
  double number(const std::string& name) const { return numbers(name, 1)[0]; }
  std::int64_t integer(const std::string& name) const { return integers(name, 1)[0]; }
  std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high) const;
  /// A number of ticks or ns, which must not be negative.
  std::int64_t count(const std::string& name) const;
  /// An index less than `below`; or an array of such indices, with `size` as for `integers`.
  std::size_t place(const std::string& name, std::size_t below) const;
  const Integers& places(const std::string& name, std::size_t below, std::int64_t size = -1) const;
  bool flag(const std::string& name) const { return integer(name) != 0; }
  const std::string& text(const std::string& name) const;
  /// The parts `0`, `1`, ... below this name.
  std::vector<Part> list(const std::string& name) const;

 private:
  template <class T>
  const T& get(const std::string& name, const char* type) const;

  const Table* table_;
  std::string prefix_;
};

}  // namespace policy_core
