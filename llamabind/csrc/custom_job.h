// Operations of ours as GGML_OP_CUSTOM: each has a job, its parameters, at the end of its op_params; ggml uses the
// beginning of these for custom operations.

#pragma once

#include "ggml-cpu.h"
#include "ggml.h"

#include <cstring>
#include <new>
#include <utility>

namespace lb {

// `Job` has the parameters of one operation, and `compute` is its ggml_custom_op_t.
template <typename Job, ggml_custom_op_t compute> struct custom_job {
    static constexpr size_t N_OWN = GGML_MAX_OP_PARAMS - sizeof(Job);
    static_assert(N_OWN % alignof(Job) == 0 && N_OWN >= 24, "ggml_custom_op_params and a job fit into op_params");

    static Job * of(ggml_tensor * op) {
        return reinterpret_cast<Job *>(reinterpret_cast<char *>(op->op_params) + N_OWN);
    }

    // Whether `op` was turned into this operation, for a graph that is computed once more.
    static bool is(const ggml_tensor * op) {
        return op->op == GGML_OP_CUSTOM && std::memcmp(op->op_params, made().op_params, N_OWN) == 0;
    }

    // Turns `op` into this operation.
    template <typename... Values> static void put(ggml_tensor * op, Values &&... values) {
        op->op = GGML_OP_CUSTOM;
        std::memcpy(op->op_params, made().op_params, N_OWN);
        new (of(op)) Job{ std::forward<Values>(values)... };
    }

  private:
    // The operation as ggml creates it; its op_params are copied.
    static const ggml_tensor & made() {
        static const ggml_tensor tensor = [] {
            ggml_context * ctx = ggml_init({ ggml_tensor_overhead() * 4, nullptr, true });
            ggml_tensor copy = *ggml_custom_4d(ctx, GGML_TYPE_F32, 1, 1, 1, 1, nullptr, 0, compute, GGML_N_TASKS_MAX, nullptr);
            ggml_free(ctx);
            return copy;
        }();
        return tensor;
    }
};

}  // namespace lb
