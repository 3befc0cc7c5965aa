/* SPDX-FileCopyrightText: 2026 The policy_inference authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Interface to a model runner: its owner opens it, and one thread at a time uses it. */
#ifndef POLICY_CORE_RUNNER_H_
#define POLICY_CORE_RUNNER_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum policy_core_dtype { POLICY_CORE_FLOAT32 = 1, POLICY_CORE_FLOAT64 = 2 };

/* An input or output: an array that keeps its address until `close`. */
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
  /* Computes the outputs from the inputs. Returns 0, or the number (from 1) of an error. */
  long (*run)(void* context);
  /* Frees everything; `context` is not used afterwards. */
  void (*close)(void* context);
};

#ifdef __cplusplus
}
#endif

#endif /* POLICY_CORE_RUNNER_H_ */
