// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <rknn_api.h>

#include <stdexcept>
#include <vector>

#include "factory.hpp"
#include "model_file.hpp"

namespace policy_client {
namespace {

class Context {
 public:
  explicit Context(const std::string& file) {
    std::string model = read_model(file);
    const int code =
        rknn_init(&context_, model.data(), static_cast<std::uint32_t>(model.size()), 0, nullptr);
    if (code != RKNN_SUCC) {
      throw std::runtime_error(file + ": rknn_init failed with status " + std::to_string(code) +
                               "; is it compiled for this chip and this librknnrt?");
    }
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { rknn_destroy(context_); }

  rknn_context get() const noexcept { return context_; }

  template <typename T>
  T query(rknn_query_cmd command, T asked = {}) const {
    const int code = rknn_query(context_, command, &asked, sizeof(asked));
    if (code != RKNN_SUCC) {
      throw std::runtime_error("rknn_query failed with status " + std::to_string(code));
    }
    return asked;
  }

 private:
  rknn_context context_ = 0;
};

class RknnModel : public Model {
 public:
  RknnModel(const std::string& file, const Options& options) : context_(file) {
    const auto count = context_.query<rknn_input_output_num>(RKNN_QUERY_IN_OUT_NUM);
    if (count.n_input != 1 || count.n_output != 1) {
      throw std::runtime_error(
          file + ": expected one input and one output, found " + std::to_string(count.n_input) +
          " and " + std::to_string(count.n_output) +
          "; models with recurrent state or several inputs are run by the service");
    }
    const auto input = context_.query<rknn_tensor_attr>(RKNN_QUERY_INPUT_ATTR);
    const auto output = context_.query<rknn_tensor_attr>(RKNN_QUERY_OUTPUT_ATTR);
    check(file + ": " + input.name, input, options.rows, options.obs_dim);
    check(file + ": " + output.name, output, options.rows, options.act_dim);
    format_ = input.fmt;
    input_bytes_ = input.n_elems * static_cast<std::uint32_t>(sizeof(float));
    output_bytes_ = output.n_elems * static_cast<std::uint32_t>(sizeof(float));
  }

  bool run(const float* observation, float* action, Message& message) noexcept override {
    rknn_input input{};
    input.buf = const_cast<float*>(observation);  // The library's C interface has no const.
    input.size = input_bytes_;
    input.type = RKNN_TENSOR_FLOAT32;
    input.fmt = format_;
    rknn_output output{};
    output.want_float = 1;
    output.is_prealloc = 1;
    output.buf = action;
    output.size = output_bytes_;
    return done("rknn_inputs_set", rknn_inputs_set(context_.get(), 1, &input), message) &&
           done("rknn_run", rknn_run(context_.get(), nullptr), message) &&
           done("rknn_outputs_get", rknn_outputs_get(context_.get(), 1, &output, nullptr),
                message) &&
           done("rknn_outputs_release", rknn_outputs_release(context_.get(), 1, &output), message);
  }

 private:
  static void check(const std::string& what, const rknn_tensor_attr& tensor, std::uint32_t rows,
                    std::uint32_t dim) {
    const std::uint64_t expected = std::uint64_t{rows} * dim;
    if (tensor.n_elems != expected) {
      throw std::runtime_error(what + ": expected " + std::to_string(expected) + " values (" +
                               std::to_string(rows) + " rows), found " +
                               std::to_string(tensor.n_elems));
    }
  }

  static bool done(const char* call, int code, Message& message) noexcept {
    if (code != RKNN_SUCC) message.set("rknn: %s failed with status %d", call, code);
    return code == RKNN_SUCC;
  }

  Context context_;
  rknn_tensor_format format_{};
  std::uint32_t input_bytes_ = 0;
  std::uint32_t output_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Model> make_rknn_model(const std::string& file, const Options& options) {
  return std::make_unique<RknnModel>(file, options);
}

}  // namespace policy_client
