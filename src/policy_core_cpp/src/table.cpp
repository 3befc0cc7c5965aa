// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/table.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace policy_core {
namespace {

constexpr char kMagic[8] = {'P', 'O', 'L', 'P', 'L', 'A', 'N', '3'};
constexpr std::size_t kDigestBytes = 32;
constexpr std::uint64_t kLargestCount = 1u << 28;

void check_range(const std::string& name, std::int64_t value, std::int64_t low,
                 std::int64_t high) {
  if (low <= value && value <= high) return;
  throw PlanError("plan: " + name + ": expected " + std::to_string(low) + " to " +
                  std::to_string(high) + ", found " + std::to_string(value));
}

/// Reads values from bytes, little-endian as on all supported machines.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  const std::uint8_t* take(std::uint64_t size) {
    if (size > left_) {
      throw PlanError("plan: expected " + std::to_string(size) + " more bytes, found " +
                      std::to_string(left_));
    }
    const std::uint8_t* begin = data_;
    data_ += size;
    left_ -= static_cast<std::size_t>(size);
    return begin;
  }

  template <class T>
  T value() {
    T found;
    std::memcpy(&found, take(sizeof found), sizeof found);
    return found;
  }

  std::string text() {
    const auto size = value<std::uint32_t>();
    const auto* begin = reinterpret_cast<const char*>(take(size));
    return {begin, size};
  }

  template <class T>
  std::vector<T> array(std::uint64_t count) {
    if (count > kLargestCount) {
      throw PlanError("plan: expected at most 2^28 values, found " + std::to_string(count));
    }
    const auto* begin = take(count * sizeof(T));
    std::vector<T> found(static_cast<std::size_t>(count));
    if (!found.empty()) std::memcpy(found.data(), begin, found.size() * sizeof(T));
    return found;
  }

  bool is_empty() const { return left_ == 0; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace

void check_size(const std::string& name, std::int64_t rows, std::size_t columns) {
  if (columns == 0 || rows <= kMostValues / static_cast<std::int64_t>(columns)) return;
  throw PlanError("plan: " + name + ": expected at most " + std::to_string(kMostValues) +
                  " values, found " + std::to_string(rows) + " times " + std::to_string(columns));
}

std::uint32_t crc32(const std::uint8_t* data, std::size_t size) noexcept {
  std::uint32_t crc = 0xffffffffu;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1u ? 0xedb88320u : 0u);
  }
  return ~crc;
}

Table Table::open(const std::string& path) {
  std::vector<char> content;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw PlanError(path + ": expected the file of a plan, found a folder");
  }
  try {
    std::ifstream file(path, std::ios::binary);
    content.assign(std::istreambuf_iterator<char>(file), {});
    if (!file) throw std::ios_base::failure("");
  } catch (const std::ios_base::failure&) {
    throw PlanError(path + ": expected a plan, found no file that can be read");
  }
  try {
    return parse(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
  } catch (const PlanError& error) {
    throw PlanError(path + ": " + error.what());
  }
}

Table Table::open(const std::string& path, const std::string& digest) {
  auto table = open(path);
  if (table.digest() != digest) {
    throw PlanError(path + ": expected a plan for the bundle " + digest + ", found one for " +
                    table.digest() + "; make it again from this bundle");
  }
  return table;
}

Table Table::parse(const std::uint8_t* data, std::size_t size) {
  if (size < sizeof kMagic || std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    throw PlanError(std::string("plan: expected one of version ") + kMagic[sizeof kMagic - 1] +
                    "; make it again with this version");
  }
  std::uint32_t crc = 0;
  size -= std::min(size, sizeof crc);
  std::memcpy(&crc, data + size, sizeof crc);
  if (crc32(data, size) != crc) {
    throw PlanError(
        "plan: expected one that matches its checksum, found a damaged one; make it again");
  }
  Bytes bytes(data, size);
  bytes.take(sizeof kMagic);
  Table table;
  constexpr char kHex[] = "0123456789abcdef";
  const auto* digest = bytes.take(kDigestBytes);
  for (std::size_t i = 0; i < kDigestBytes; ++i) {
    table.digest_ += {kHex[digest[i] >> 4], kHex[digest[i] & 15]};
  }
  const auto count = bytes.value<std::uint32_t>();
  for (std::uint32_t i = 0; i < count; ++i) {
    auto name = bytes.text();
    const auto type = bytes.value<std::uint8_t>();
    const auto length = bytes.value<std::uint64_t>();
    if (type == 'd') {
      table.values_[std::move(name)] = bytes.array<double>(length);
    } else if (type == 'q') {
      auto values = bytes.array<std::int64_t>(length);
      for (auto value : values) check_range(name, value, -kLargestInteger, kLargestInteger);
      table.values_[std::move(name)] = std::move(values);
    } else if (type == 's') {
      std::vector<std::string> texts;
      for (std::uint64_t j = 0; j < length; ++j) texts.push_back(bytes.text());
      table.values_[std::move(name)] = std::move(texts);
    } else {
      throw PlanError("plan: " + name + ": expected the type d, q or s, found " +
                      std::to_string(type));
    }
  }
  if (!bytes.is_empty()) throw PlanError("plan: expected its end, found more bytes");
  return table;
}

template <class T>
const T& Part::get(const std::string& name, const char* type) const {
  const auto found = table_->values_.find(prefix_ + name);
  if (found == table_->values_.end()) {
    throw PlanError("plan: " + prefix_ + name + ": expected " + type + ", found nothing");
  }
  const auto* value = std::get_if<T>(&found->second);
  static const T kEmpty;
  // An empty array has no type.
  const bool is_empty = std::visit([](const auto& each) { return each.empty(); }, found->second);
  if (!value && is_empty) return kEmpty;
  if (!value) throw PlanError("plan: " + prefix_ + name + ": expected " + type);
  return *value;
}

bool Part::has(const std::string& name) const { return table_->values_.count(prefix_ + name) > 0; }

bool Part::has_part(const std::string& name) const {
  const auto start = prefix_ + name + ".";
  const auto found = table_->values_.lower_bound(start);
  return found != table_->values_.end() && found->first.compare(0, start.size(), start) == 0;
}

const Numbers& Part::numbers(const std::string& name, std::int64_t size) const {
  const auto& found = get<Numbers>(name, "numbers");
  if (size >= 0 && static_cast<std::int64_t>(found.size()) != size) {
    throw PlanError("plan: " + prefix_ + name + ": expected " + std::to_string(size) +
                    " numbers, found " + std::to_string(found.size()));
  }
  return found;
}

const Integers& Part::integers(const std::string& name, std::int64_t size) const {
  const auto& found = get<Integers>(name, "integers");
  if (size >= 0 && static_cast<std::int64_t>(found.size()) != size) {
    throw PlanError("plan: " + prefix_ + name + ": expected " + std::to_string(size) +
                    " integers, found " + std::to_string(found.size()));
  }
  return found;
}

std::int64_t Part::integer(const std::string& name, std::int64_t low, std::int64_t high) const {
  const auto found = integer(name);
  check_range(prefix_ + name, found, low, high);
  return found;
}

std::int64_t Part::count(const std::string& name) const {
  return integer(name, 0, kLargestInteger);
}

std::size_t Part::place(const std::string& name, std::size_t below) const {
  return static_cast<std::size_t>(integer(name, 0, static_cast<std::int64_t>(below) - 1));
}

const Integers& Part::places(const std::string& name, std::size_t below, std::int64_t size) const {
  const auto& found = integers(name, size);
  for (auto place : found) {
    check_range(prefix_ + name, place, 0, static_cast<std::int64_t>(below) - 1);
  }
  return found;
}

const std::vector<std::string>& Part::texts(const std::string& name) const {
  return get<std::vector<std::string>>(name, "texts");
}

const std::string& Part::text(const std::string& name) const {
  const auto& found = texts(name);
  if (found.size() != 1) throw PlanError("plan: " + prefix_ + name + ": expected one text");
  return found[0];
}

std::vector<Part> Part::list(const std::string& name) const {
  std::vector<Part> parts;
  while (has_part(name + "." + std::to_string(parts.size()))) {
    parts.push_back(at(name).at(std::to_string(parts.size())));
  }
  return parts;
}

}  // namespace policy_core
