// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/proven_models.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace policy_controllers {
namespace {

using policy_core::Numbers;
using policy_core::Part;
using policy_core::PlanError;

constexpr const char* kRemedy = "; make the plan again from the bundle that is installed";

/// A tensor of a model and its content in each row.
struct Rows {
  const policy_core_tensor& tensor;
  const Numbers& values;

  double value(std::size_t i) const {
    return tensor.dtype == POLICY_CORE_FLOAT32 ? static_cast<const float*>(tensor.data)[i]
                                               : static_cast<const double*>(tensor.data)[i];
  }
  void write(std::size_t row) const {
    for (std::size_t i = 0; i < tensor.count; ++i) {
      const double each = values[row * tensor.count + i];
      if (tensor.dtype == POLICY_CORE_FLOAT32) {
        static_cast<float*>(tensor.data)[i] = static_cast<float>(each);
      } else {
        static_cast<double*>(tensor.data)[i] = each;
      }
    }
  }
};

std::vector<Rows> rows_of(const std::vector<Part>& parts, std::int64_t rows,
                          const policy_core_tensor* tensors, std::size_t count,
                          const std::string& file) {
  std::vector<Rows> found;
  for (const auto* tensor = tensors; tensor != tensors + count; ++tensor) {
    const auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& each) {
      return each.text("name") == tensor->name;
    });
    if (part == parts.end()) {
      throw PlanError(file + ": golden rows: expected values of " + tensor->name +
                      ", found none" + kRemedy);
    }
    found.push_back(
        {*tensor, part->numbers("values", rows * static_cast<std::int64_t>(tensor->count))});
  }
  return found;
}

/// Distance of an output from its rows, measured like `policy_inference.comparison.open_loop`.
struct Difference {
  double sum = 0.0, squares = 0.0, largest = 0.0;
  std::string where;

  void add(const Rows& output, std::size_t row) {
    for (std::size_t i = 0; i < output.tensor.count; ++i) {
      const double expected = output.values[row * output.tensor.count + i];
      const double found = output.value(i), off = std::fabs(found - expected);
      sum += off;
      squares += off * off;
      if (off <= largest || std::isnan(largest)) continue;
      largest = off;
      std::ostringstream text;
      text << "row " << row << ", value " << i << ": expected " << expected << ", found " << found;
      where = text.str();
    }
  }

  void require(const Rows& output, const Numbers& limits, const std::string& file) const {
    const auto count = static_cast<double>(output.values.size());
    const std::array<double, 3> found = {sum / count, std::sqrt(squares / count), largest};
    constexpr std::array<const char*, 3> kNames = {"mean absolute error", "RMSE",
                                                   "largest difference"};
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] <= limits[i]) continue;
      std::ostringstream text;
      text << file << ": golden rows: " << kNames[i] << " of " << output.tensor.name
           << ": expected at most " << limits[i] << ", found " << found[i] << " (" << where
           << "); on this machine, the policy computes a different function";
      throw PlanError(text.str() + kRemedy);
    }
  }
};

void prove(const Part& plan, const policy_core::OnnxRunner& model, const std::string& file) {
  const auto& runner = model.runner();
  const auto rows = plan.integer("rows", 1, policy_core::kMostValues);
  const auto inputs = rows_of(plan.list("inputs"), rows, runner.inputs, runner.input_count, file);
  const auto outputs =
      rows_of(plan.list("outputs"), rows, runner.outputs, runner.output_count, file);
  std::vector<Difference> differences(outputs.size());
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    for (const auto& input : inputs) input.write(row);
    if (runner.run(runner.context) != 0) {
      throw PlanError(file + ": golden rows: row " + std::to_string(row) + ": " + model.error());
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) differences[i].add(outputs[i], row);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    differences[i].require(outputs[i], plan.numbers("largest", 3), file);
  }
  for (const auto& input : inputs) {
    std::memset(input.tensor.data, 0,
                input.tensor.count *
                    (input.tensor.dtype == POLICY_CORE_FLOAT32 ? sizeof(float) : sizeof(double)));
  }
}

std::vector<std::uint8_t> content_of(const Part& plan, const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw PlanError(file + ": expected a model, found no file that can be read");
  std::vector<std::uint8_t> content{std::istreambuf_iterator<char>(stream), {}};
  const auto expected = plan.integer("crc32");
  const auto found = policy_core::crc32(content.data(), content.size());
  if (expected == static_cast<std::int64_t>(found)) return content;
  throw PlanError(file + ": expected the model of the plan (CRC " + std::to_string(expected) +
                  "), found a different model (CRC " + std::to_string(found) + ")" + kRemedy);
}

}  // namespace

ProvenModels::ProvenModels(const Part& host) {
  for (const auto& plan : host.list("models")) {
    const auto& file = plan.text("file");
    const auto content = content_of(plan, file);
    try {
      opened_.emplace_back(host.text("library"), content.data(), content.size());
    } catch (const PlanError&) {
      throw;
    } catch (const std::exception& error) {
      throw PlanError(file + ": " + error.what());
    }
    prove(plan, opened_.back(), file);
    runners_.emplace_back(plan.text("member"), &opened_.back().runner());
  }
}

}  // namespace policy_controllers
