// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <onnxruntime_cxx_api.h>

#include <stdexcept>
#include <vector>

#include "factory.hpp"
#include "model_file.hpp"

namespace policy_client {
namespace {

/// The shape with which a tensor of the model is used: free dimensions become the rows.
std::vector<std::int64_t> shape_for(const std::string& what, const Ort::TypeInfo& type,
                                    std::uint32_t rows, std::uint32_t dim) {
  if (type.GetONNXType() != ONNX_TYPE_TENSOR) {
    throw std::runtime_error(what + ": expected a tensor");
  }
  const auto tensor = type.GetTensorTypeAndShapeInfo();
  if (tensor.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    throw std::runtime_error(what + ": expected float32");
  }
  auto shape = tensor.GetShape();
  std::int64_t values = 1;
  for (auto& length : shape) {
    if (length < 0) length = rows;
    values *= length;
  }
  const std::int64_t expected = std::int64_t{rows} * dim;
  if (values != expected) {
    throw std::runtime_error(what + ": expected " + std::to_string(expected) + " values (" +
                             std::to_string(rows) + " rows), found " + std::to_string(values));
  }
  return shape;
}

class OnnxModel : public Model {
 public:
  OnnxModel(const std::string& file, const Options& options)
      : environment_(ORT_LOGGING_LEVEL_WARNING, "policy_client"),
        session_(open(environment_, file)),
        input_(std::size_t{options.rows} * options.obs_dim),
        output_(std::size_t{options.rows} * options.act_dim) {
    if (session_.GetInputCount() != 1 || session_.GetOutputCount() != 1) {
      throw std::runtime_error(
          file + ": expected one input and one output, found " +
          std::to_string(session_.GetInputCount()) + " and " +
          std::to_string(session_.GetOutputCount()) +
          "; models with recurrent state or several inputs are run by the service");
    }
    Ort::AllocatorWithDefaultOptions allocator;
    input_name_ = session_.GetInputNameAllocated(0, allocator).get();
    output_name_ = session_.GetOutputNameAllocated(0, allocator).get();
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    input_tensor_ = tensor(memory, input_, shape_for(file + ": " + input_name_,
                                                     session_.GetInputTypeInfo(0), options.rows,
                                                     options.obs_dim));
    output_tensor_ = tensor(memory, output_, shape_for(file + ": " + output_name_,
                                                       session_.GetOutputTypeInfo(0), options.rows,
                                                       options.act_dim));
  }

  bool run(const float* observation, float* action, Message& message) noexcept override try {
    std::copy_n(observation, input_.size(), input_.begin());
    const char* input_name = input_name_.c_str();
    const char* output_name = output_name_.c_str();
    session_.Run(Ort::RunOptions{nullptr}, &input_name, &input_tensor_, 1, &output_name,
                 &output_tensor_, 1);
    std::copy(output_.begin(), output_.end(), action);
    return true;
  } catch (const std::exception& error) {
    message.set("onnx: %s", error.what());
    return false;
  }

 private:
  static Ort::Session open(const Ort::Env& environment, const std::string& file) {
    const std::string model = read_model(file);
    require_whole(file, model);
    return {environment, model.data(), model.size(), settings()};
  }

  static Ort::SessionOptions settings() {
    // A policy is small: more threads cost more than they gain, and take cores from the control
    // loop.
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    options.SetInterOpNumThreads(1);
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    // The check parsed the file as protobuf, so the runtime must, too. A path at which no file can
    // exist prevents any search for external files; the model has none.
    options.AddConfigEntry("session.load_model_format", "ONNX");
    options.AddConfigEntry("session.model_external_initializers_file_folder_path", "/dev/null");
    return options;
  }

  static Ort::Value tensor(const Ort::MemoryInfo& memory, std::vector<float>& values,
                           const std::vector<std::int64_t>& shape) {
    return Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(),
                                           shape.size());
  }

  Ort::Env environment_;
  Ort::Session session_;
  std::string input_name_;
  std::string output_name_;
  std::vector<float> input_;
  std::vector<float> output_;
  Ort::Value input_tensor_{nullptr};
  Ort::Value output_tensor_{nullptr};
};

}  // namespace

std::unique_ptr<Model> make_onnx_model(const std::string& file, const Options& options) try {
  return std::make_unique<OnnxModel>(file, options);
} catch (const Ort::Exception& error) {
  throw std::runtime_error(file + ": " + error.what());
}

}  // namespace policy_client
