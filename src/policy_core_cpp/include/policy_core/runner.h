/* SPDX-FileCopyrightText: 2026 The policy_inference authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * What runs a model: opened by its owner, asked by one thread at a time. */
#ifndef POLICY_CORE_RUNNER_H_
#define POLICY_CORE_RUNNER_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum policy_core_dtype { POLICY_CORE_FLOAT32 = 1, POLICY_CORE_FLOAT64 = 2 };

/* An input or an output: an array that keeps its address until `close`. */
struct policy_core_tensor {
  const char* name;
  void* data;
  size_t count;
  enum policy_core_dtype dtype;
};

struct policy_core_runner {
  void* context;
  const struct policy_core_tensor* inputs;
  size_t input_count;
  const struct policy_core_tensor* outputs;
  size_t output_count;
  /* Computes the outputs from the inputs. Returns 0, or the number of an error, counted from 1. */
  long (*run)(void* context);
  /* Ends it; `context` is not used afterwards. */
  void (*close)(void* context);
};

#ifdef __cplusplus
}
#endif

#endif /* POLICY_CORE_RUNNER_H_ */
