// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "model_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <vector>

#include "descriptor.hpp"

namespace policy_client {
namespace {

constexpr std::size_t largest_bytes = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t most_fields = 2'000'000;
/// Nesting of messages; also protobuf's own limit.
constexpr std::size_t deepest = 100;
constexpr unsigned external_data = 13;  // In a Tensor: the location of its values,
constexpr unsigned data_location = 14;  // and whether it is outside the file.

enum class Kind { model, training, function, graph, node, attribute, sparse, tensor, none };
enum Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

constexpr std::uint32_t fields(std::initializer_list<unsigned> numbers) {
  std::uint32_t set = 0;
  for (const unsigned number : numbers) set |= std::uint32_t{1} << number;
  return set;
}

/// The fields of an ONNX message: those without weights, and messages that may contain some.
struct Grammar {
  struct Inside {
    unsigned number = 0;
    Kind kind = Kind::none;
  };
  const char* name;
  std::uint32_t leaves;
  Inside inside[6];

  bool is_leaf(std::uint64_t number) const { return number < 32 && (leaves >> number & 1U) != 0; }
  Kind kind_of(std::uint64_t number) const {
    const auto* found = std::find_if(std::begin(inside), std::end(inside), [number](const Inside& one) {
      return one.kind != Kind::none && one.number == number;
    });
    return found == std::end(inside) ? Kind::none : found->kind;
  }
};

// From onnx.proto up to IR version 13, in the order of Kind. An unknown field is refused: a runtime
// that knows it may find weights in it.
constexpr Grammar grammars[] = {
    {"Model", fields({1, 2, 3, 4, 5, 6, 8, 14, 26}),
     {{7, Kind::graph}, {20, Kind::training}, {25, Kind::function}}},
    {"Training", fields({3, 4}), {{1, Kind::graph}, {2, Kind::graph}}},
    {"Function", fields({1, 4, 5, 6, 8, 9, 10, 12, 13, 14}),
     {{7, Kind::node}, {11, Kind::attribute}}},
    {"Graph", fields({2, 10, 11, 12, 13, 14, 16}),
     {{1, Kind::node}, {5, Kind::tensor}, {15, Kind::sparse}}},
    {"Node", fields({1, 2, 3, 4, 6, 7, 8, 9, 10}), {{5, Kind::attribute}}},
    {"Attribute", fields({1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21}),
     {{5, Kind::tensor}, {6, Kind::graph}, {10, Kind::tensor}, {11, Kind::graph},
      {22, Kind::sparse}, {23, Kind::sparse}}},
    {"Sparse", fields({3}), {{1, Kind::tensor}, {2, Kind::tensor}}},
    {"Tensor", fields({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16}), {}},
};

/// The file is not an ONNX model; the text describes it.
struct Unsound : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void end_too_early() { throw Unsound("a file that ends too early"); }

/// The part of a model read so far, and the position.
class Reader {
 public:
  explicit Reader(const std::string& model) : model_(model) {}

  /// A number of at most 70 bits, whatever its encoded length.
  struct Number {
    std::uint64_t low = 0;
    bool is_longer = false;  ///< Bits above these are set.
  };
  Number number() {
    Number found;
    for (unsigned place = 0; place < 10; ++place) {
      if (at >= model_.size()) end_too_early();
      const auto byte = static_cast<unsigned char>(model_[at++]);
      const std::uint64_t part = byte & 0x7FU;
      found.low |= part << 7 * place;
      found.is_longer = place == 9 && part > 1;
      if (byte < 0x80) return found;
    }
    throw Unsound("a number longer than protobuf allows");
  }

  /// Skips a field's content: from `begin` to `at`. Returns its value if it is a number; any other
  /// kind is 1, which is not a valid number where one is expected.
  std::uint64_t skip(unsigned wire) {
    begin = at;
    if (wire == varint) {
      const Number value = number();
      return value.low | static_cast<std::uint64_t>(value.is_longer);
    }
    if (wire == bytes) {
      const Number size = number();
      begin = at;
      const std::size_t most = std::numeric_limits<std::size_t>::max() - at;
      at += size.is_longer ? most : std::min<std::uint64_t>(size.low, most);
      return 1;
    }
    if (wire != fixed64 && wire != fixed32) {
      throw Unsound("protobuf's wire type " + std::to_string(wire) + ", which ONNX does not use");
    }
    at += wire == fixed64 ? 8 : 4;
    return 1;
  }

  std::size_t begin = 0;
  std::size_t at = 0;

 private:
  const std::string& model_;
};

/// Walks through all messages that may hold tensors. Returns false if a tensor is elsewhere.
bool is_whole(const std::string& model) {
  struct Part {
    Kind kind;
    std::size_t begin, end, depth;
  };
  std::vector<Part> open{{Kind::model, 0, model.size(), 1}};
  std::size_t count = 0;
  Reader reader(model);
  while (!open.empty()) {
    const Part part = open.back();
    open.pop_back();
    if (part.depth > deepest) {
      throw Unsound("more than " + std::to_string(deepest) + " levels of nesting");
    }
    const Grammar& grammar = grammars[static_cast<std::size_t>(part.kind)];
    reader.at = part.begin;
    while (reader.at < part.end) {
      if (++count > most_fields) {
        throw Unsound("more than " + std::to_string(most_fields) + " fields besides weights");
      }
      const Reader::Number tag = reader.number();
      const std::uint64_t number = tag.low >> 3;
      const auto wire = static_cast<unsigned>(tag.low & 7U);
      const std::uint64_t value = reader.skip(wire);
      const Kind inside = tag.is_longer ? Kind::none : grammar.kind_of(number);
      if (inside != Kind::none && wire == bytes) {
        if (reader.at > part.end) end_too_early();
        open.push_back({inside, reader.begin, reader.at, part.depth + 1});
      } else if (inside == Kind::none && (tag.is_longer || !grammar.is_leaf(number))) {
        if (part.kind != Kind::tensor || tag.is_longer ||
            (number != external_data && number != data_location)) {
          throw Unsound("field " + std::to_string(number) + " in a " + grammar.name +
                        ", which no known version of ONNX has");
        }
        if (number == external_data || value != 0) return false;
      }
    }
    if (reader.at != part.end) end_too_early();
  }
  return true;
}

[[noreturn]] void cannot_read(const std::string& file, const char* found) {
  throw std::runtime_error(file + ": expected a model, found: " + found);
}

}  // namespace

std::string read_model(const std::string& file) {
  // O_NONBLOCK: opening a pipe must not wait for its writer. Regular files ignore it.
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat found {};
  if (!opened || ::fstat(opened.get(), &found) != 0) cannot_read(file, std::strerror(errno));
  if (!S_ISREG(found.st_mode)) cannot_read(file, "not a regular file");
  if (static_cast<std::uint64_t>(found.st_size) > largest_bytes) {
    cannot_read(file, "more than 2 GiB");
  }
  std::string model(static_cast<std::size_t>(found.st_size), '\0');
  std::size_t got = 0;
  while (got < model.size()) {
    const ssize_t more = ::read(opened.get(), &model[got], model.size() - got);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) cannot_read(file, std::strerror(errno));
    if (more == 0) cannot_read(file, "a file that is being written");
    got += static_cast<std::size_t>(more);
  }
  return model;
}

void require_whole(const std::string& file, const std::string& model) try {
  if (is_whole(model)) return;
  throw std::runtime_error(file + ": expected all weights in this file, found some in an external file, "
                           "which no hash covers; merge them on a machine with the Python package "
                           "onnx: onnx.save(onnx.load('model.onnx'), 'merged.onnx')");
} catch (const Unsound& error) {
  throw std::runtime_error(file + ": expected an ONNX model, found " + error.what() +
                           "; copy or export it again");
}

}  // namespace policy_client
