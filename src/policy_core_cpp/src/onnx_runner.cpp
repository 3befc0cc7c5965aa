// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/onnx_runner.hpp"

#include <dlfcn.h>

#include <cstring>
#include <stdexcept>

namespace policy_core {
namespace {

// The functions of `OrtApi` by their index (onnxruntime_c_api.h). New functions are only appended,
// so the indices are valid in each version from 12 on.
enum Place : std::size_t {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSessionFromArray = 8,
  kRun = 9,
  kCreateSessionOptions = 10,
  kSetIntraOpNumThreads = 24,
  kSetInterOpNumThreads = 25,
  kSessionGetInputCount = 30,
  kSessionGetOutputCount = 31,
  kSessionGetInputTypeInfo = 33,
  kSessionGetOutputTypeInfo = 34,
  kSessionGetInputName = 36,
  kSessionGetOutputName = 37,
  kCreateTensorWithDataAsOrtValue = 49,
  kCastTypeInfoToTensorInfo = 55,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kCreateCpuMemoryInfo = 69,
  kAllocatorFree = 76,
  kGetAllocatorWithDefaultOptions = 78,
  kReleaseEnv = 92,
  kReleaseStatus = 93,
  kReleaseMemoryInfo = 94,
  kReleaseSession = 95,
  kReleaseValue = 96,
  kReleaseTypeInfo = 98,
  kReleaseSessionOptions = 100,
  kAddSessionConfigEntry = 130,
};
constexpr std::uint32_t kApiVersion = 12;
constexpr int kFatal = 4, kFloat = 1, kDouble = 11, kArenaAllocator = 1, kDefaultMemory = 0;

struct OrtApiBase {
  const void* const* (*get_api)(std::uint32_t version);
  const char* (*get_version)();
};

using Object = void*;
using Status = void*;

}  // namespace

struct OnnxRunner::Session {
  template <class... Arguments>
  Status ask(Place place, Arguments... arguments) const {
    return reinterpret_cast<Status (*)(Arguments...)>(const_cast<void*>(api[place]))(arguments...);
  }
  template <class... Arguments>
  void release(Place place, Arguments... arguments) const {
    reinterpret_cast<void (*)(Arguments...)>(const_cast<void*>(api[place]))(arguments...);
  }

  /// Throws if a call failed.
  void require(Status status) {
    if (!status) return;
    note(status);
    throw std::runtime_error(std::string("ONNX Runtime: ") + error);
  }

  /// Stores the message of a failed call.
  void note(Status status) noexcept {
    const auto* text = reinterpret_cast<const char* (*)(Status)>(
        const_cast<void*>(api[kGetErrorMessage]))(status);
    std::strncpy(error, text, sizeof error - 1);
    release(kReleaseStatus, status);
  }

  void open(const std::string& path, const std::uint8_t* model, std::size_t size);
  void add(std::size_t index, Place type, Place name, std::vector<policy_core_tensor>& tensors,
           std::vector<Object>& values);
  void close() noexcept;

  ~Session() { close(); }

  void* library = nullptr;
  const void* const* api = nullptr;
  Object env = nullptr, options = nullptr, session = nullptr, memory = nullptr, allocator = nullptr;
  std::vector<policy_core_tensor> inputs, outputs;
  std::vector<Object> input_values, output_values;
  std::vector<const char*> input_names, output_names;
  std::vector<std::unique_ptr<double[]>> arrays;
  std::vector<std::unique_ptr<char[]>> names;
  policy_core_runner runner{};
  char error[512] = {};
  long errors = 0;
};

void OnnxRunner::Session::open(const std::string& path, const std::uint8_t* model,
                               std::size_t size) {
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(dlerror());
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (!base) throw std::runtime_error(path + ": expected ONNX Runtime's library");
  api = base()->get_api(kApiVersion);
  if (!api) throw std::runtime_error(path + ": expected ONNX Runtime 1.12 or later");
  require(ask(kCreateEnv, kFatal, static_cast<const char*>("policy_core"), &env));
  require(ask(kCreateSessionOptions, &options));
  require(ask(kSetIntraOpNumThreads, options, 1));
  require(ask(kSetInterOpNumThreads, options, 1));
  for (const auto& [key, value] : {std::pair{"session.intra_op.allow_spinning", "0"},
                                   std::pair{"session.inter_op.allow_spinning", "0"},
                                   std::pair{"session.x64quantprecision", "1"},
                                   std::pair{"session.load_model_format", "ONNX"}}) {
    require(ask(kAddSessionConfigEntry, options, key, value));
  }
  require(ask(kCreateSessionFromArray, env, static_cast<const void*>(model), size, options,
              &session));
  require(ask(kCreateCpuMemoryInfo, kArenaAllocator, kDefaultMemory, &memory));
  require(ask(kGetAllocatorWithDefaultOptions, &allocator));
  std::size_t count = 0;
  require(ask(kSessionGetInputCount, session, &count));
  for (std::size_t i = 0; i < count; ++i) {
    add(i, kSessionGetInputTypeInfo, kSessionGetInputName, inputs, input_values);
  }
  require(ask(kSessionGetOutputCount, session, &count));
  for (std::size_t i = 0; i < count; ++i) {
    add(i, kSessionGetOutputTypeInfo, kSessionGetOutputName, outputs, output_values);
  }
  for (const auto& tensor : inputs) input_names.push_back(tensor.name);
  for (const auto& tensor : outputs) output_names.push_back(tensor.name);
  runner = {this, inputs.data(), inputs.size(), outputs.data(), outputs.size(),
            [](void* context) -> long {
              auto& self = *static_cast<Session*>(context);
              const auto status = self.ask(
                  kRun, self.session, Object{}, self.input_names.data(), self.input_values.data(),
                  self.input_values.size(), self.output_names.data(), self.output_values.size(),
                  self.output_values.data());
              if (!status) return 0;
              self.note(status);
              return ++self.errors;
            },
            [](void*) {}};
}

void OnnxRunner::Session::add(std::size_t index, Place type, Place name,
                              std::vector<policy_core_tensor>& tensors,
                              std::vector<Object>& values) {
  char* text = nullptr;
  require(ask(name, session, index, allocator, &text));
  names.push_back(std::make_unique<char[]>(std::strlen(text) + 1));
  std::strcpy(names.back().get(), text);
  require(ask(kAllocatorFree, allocator, static_cast<void*>(text)));
  Object info = nullptr, tensor = nullptr;
  require(ask(type, session, index, &info));
  int element = 0;
  std::size_t axes = 0;
  require(ask(kCastTypeInfoToTensorInfo, info, &tensor));
  require(ask(kGetTensorElementType, tensor, &element));
  require(ask(kGetDimensionsCount, tensor, &axes));
  std::vector<std::int64_t> shape(axes);
  require(ask(kGetDimensions, tensor, shape.data(), axes));
  release(kReleaseTypeInfo, info);
  const std::string what = names.back().get();
  if (element != kFloat && element != kDouble) {
    throw std::runtime_error(what + ": expected a tensor of float32 or float64");
  }
  if (!shape.empty() && shape[0] < 0) shape[0] = 1;  // a dynamic batch, for one robot
  std::size_t size = 1;
  for (auto axis : shape) {
    if (axis <= 0) throw std::runtime_error(what + ": expected a tensor of a fixed shape");
    size *= static_cast<std::size_t>(axis);
  }
  arrays.push_back(std::make_unique<double[]>(size));
  const auto bytes = size * (element == kFloat ? sizeof(float) : sizeof(double));
  Object value = nullptr;
  require(ask(kCreateTensorWithDataAsOrtValue, memory, static_cast<void*>(arrays.back().get()),
              bytes, static_cast<const std::int64_t*>(shape.data()), axes, element, &value));
  values.push_back(value);
  tensors.push_back({names.back().get(), arrays.back().get(), size,
                     element == kFloat ? POLICY_CORE_FLOAT32 : POLICY_CORE_FLOAT64});
}

void OnnxRunner::Session::close() noexcept {
  for (auto value : input_values) release(kReleaseValue, value);
  for (auto value : output_values) release(kReleaseValue, value);
  if (memory) release(kReleaseMemoryInfo, memory);
  if (session) release(kReleaseSession, session);
  if (options) release(kReleaseSessionOptions, options);
  if (env) release(kReleaseEnv, env);
  // The library stays loaded: its threads and statics would not survive unloading.
}

OnnxRunner::OnnxRunner(const std::string& library, const std::uint8_t* model, std::size_t size)
    : session_(std::make_unique<Session>()) {
  if (size == 0) throw std::runtime_error("model: expected the content of an ONNX file, found none");
  session_->open(library, model, size);
}

OnnxRunner::~OnnxRunner() = default;
OnnxRunner::OnnxRunner(OnnxRunner&&) noexcept = default;

const policy_core_runner& OnnxRunner::runner() const noexcept { return session_->runner; }
const char* OnnxRunner::error() const noexcept { return session_->error; }

}  // namespace policy_core
