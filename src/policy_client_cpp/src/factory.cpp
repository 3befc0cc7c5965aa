// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "factory.hpp"

#include <limits>
#include <stdexcept>

#include "in_process_source.hpp"
#include "remote_source.hpp"

namespace policy_client {
namespace {

#if defined(POLICY_CLIENT_ONNXRUNTIME)
#define POLICY_CLIENT_SOURCES_ONNX ", onnx"
#else
#define POLICY_CLIENT_SOURCES_ONNX ""
#endif
#if defined(POLICY_CLIENT_RKNN)
#define POLICY_CLIENT_SOURCES_RKNN ", rknn"
#else
#define POLICY_CLIENT_SOURCES_RKNN ""
#endif

[[noreturn, maybe_unused]] void not_built(const std::string& kind, const std::string& needs) {
  throw std::invalid_argument("source: '" + kind + "' is not in this build of policy_client (" +
                              available_sources() + "); build it where CMake finds " + needs);
}

void check(const Options& options) {
  const auto positive = [](const char* name, bool is_positive) {
    if (!is_positive) throw std::invalid_argument(std::string(name) + ": expected more than 0");
  };
  positive("obs_dim", options.obs_dim > 0);
  positive("act_dim", options.act_dim > 0);
  positive("rows", options.rows > 0);
  positive("timeout", options.timeout.count() > 0);
  positive("answer_limit", options.answer_limit.count() > 0);
  positive("retry_first", options.retry_first.count() > 0);
  // A frame's length is a u32.
  const std::uint64_t most = std::numeric_limits<std::uint32_t>::max() / sizeof(float);
  if (std::uint64_t{options.rows} * options.obs_dim > most ||
      std::uint64_t{options.rows} * options.act_dim > most) {
    throw std::invalid_argument("rows: more values than fit into one frame");
  }
}

std::unique_ptr<PolicySource> in_process(std::unique_ptr<Model> model, const Options& options) {
  return std::make_unique<InProcessSource>(std::move(model), options);
}

std::unique_ptr<PolicySource> remote(const std::string& path, const Options& options,
                                     bool shared_memory) {
  if (!options.mean.empty() || !options.divisor.empty()) {
    throw std::invalid_argument("mean, divisor: the service normalizes; leave them empty");
  }
  return std::make_unique<RemoteSource>(path, options, shared_memory);
}

}  // namespace

const char* available_sources() noexcept {
  return "unix, shm" POLICY_CLIENT_SOURCES_ONNX POLICY_CLIENT_SOURCES_RKNN;
}

const char* to_string(Status status) noexcept {
  switch (status) {
    case Status::ok: return "ok";
    case Status::stale: return "stale";
    case Status::late: return "late";
    case Status::pending: return "pending";
    case Status::disconnected: return "disconnected";
    case Status::refused: return "refused";
    case Status::error: return "error";
  }
  return "unknown";
}

std::unique_ptr<PolicySource> make_policy_source(const Options& options) {
  check(options);
  const std::size_t colon = options.source.find(':');
  const std::string kind = options.source.substr(0, colon);
  const std::string where = colon == std::string::npos ? "" : options.source.substr(colon + 1);
  if (kind == "unix" || kind == "shm") return remote(where, options, kind == "shm");
  if (kind == "onnx") return in_process(make_onnx_model(where, options), options);
  if (kind == "rknn") return in_process(make_rknn_model(where, options), options);
  throw std::invalid_argument("source: expected one of " + std::string(available_sources()) +
                              " before a colon, found '" + options.source + "'");
}

#if !defined(POLICY_CLIENT_ONNXRUNTIME)
std::unique_ptr<Model> make_onnx_model(const std::string&, const Options&) {
  not_built("onnx", "ONNX Runtime: -DONNXRUNTIME_ROOT=...");
}
#endif
#if !defined(POLICY_CLIENT_RKNN)
std::unique_ptr<Model> make_rknn_model(const std::string&, const Options&) {
  not_built("rknn", "librknnrt: -DRKNN_ROOT=...");
}
#endif

}  // namespace policy_client
