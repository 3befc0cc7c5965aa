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

/// A plan that cannot be used; says where, what was expected and what was found.
class PlanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Numbers = std::vector<double>;
using Integers = std::vector<std::int64_t>;

/// Of an integer in a plan, either way: sums of thousands of them do not overflow.
constexpr std::int64_t kLargestInteger = 1'000'000'000'000'000;
/// Of the arrays whose size a plan states as a number: 8 MiB of float64.
constexpr std::int64_t kMostValues = 1 << 20;

/// Throws PlanError where an array that a plan states as a number of rows has too many values.
void check_size(const std::string& name, std::int64_t rows, std::size_t columns);

/// The CRC-32 of bytes, as that of zlib: whether a file is the one that a plan was made of.
std::uint32_t crc32(const std::uint8_t* data, std::size_t size) noexcept;

/// Named arrays of numbers and texts, as `policy_core.plan` writes them: read once, when a plan is
/// opened. Names have dots: `run.bounds.margin`.
class Table {
 public:
  /// Reads the file of a plan. `digest` is the SHA-256 of the bundle's `policy.yaml` (`set.yaml`),
  /// 64 hex digits. Throws PlanError if there is no such file, it is damaged, or it was made of
  /// another bundle.
  static Table open(const std::string& path, const std::string& digest);
  /// The same of whatever bundle.
  static Table open(const std::string& path);
  /// Reads a plan. Throws PlanError if it is damaged or of another version.
  static Table parse(const std::uint8_t* data, std::size_t size);

  /// The SHA-256 of the bundle that it was made of, in hex.
  const std::string& digest() const { return digest_; }

 private:
  friend class Part;
  using Value = std::variant<Numbers, Integers, std::vector<std::string>>;
  std::map<std::string, Value> values_;
  std::string digest_;
};

/// A part of a table: all names that begin with its prefix. The table must outlive it.
/// Each getter throws PlanError where the value is missing or of another type.
class Part {
 public:
  explicit Part(const Table& table, std::string prefix = "")
      : table_(&table), prefix_(std::move(prefix)) {}

  Part at(const std::string& name) const { return Part(*table_, prefix_ + name + "."); }
  bool has(const std::string& name) const;
  /// Whether there is any value below a name.
  bool has_part(const std::string& name) const;

  /// An array of so many numbers; any number of them where `size` is negative.
  const Numbers& numbers(const std::string& name, std::int64_t size = -1) const;
  const Integers& integers(const std::string& name, std::int64_t size = -1) const;
  const std::vector<std::string>& texts(const std::string& name) const;
  double number(const std::string& name) const { return numbers(name, 1)[0]; }
  std::int64_t integer(const std::string& name) const { return integers(name, 1)[0]; }
  std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high) const;
  /// A number of ticks or ns.
  std::int64_t count(const std::string& name) const;
  /// An index of an array of this size; several of them, in an array of `size` as for `integers`.
  std::size_t place(const std::string& name, std::size_t below) const;
  const Integers& places(const std::string& name, std::size_t below, std::int64_t size = -1) const;
  bool flag(const std::string& name) const { return integer(name) != 0; }
  const std::string& text(const std::string& name) const;
  /// The parts `0`, `1`, ... below a name.
  std::vector<Part> list(const std::string& name) const;

 private:
  template <class T>
  const T& get(const std::string& name, const char* type) const;

  const Table* table_;
  std::string prefix_;
};

}  // namespace policy_core
