// The commit and struct sizes that this library was compiled with; Python refuses a library that does not match.

#include "llamabind.h"

#include "build-info.h"
#include "mtmd.h"

#include <cstring>

#define LB_SIZE_OF(name) { #name, sizeof(struct name) }

static const struct {
    const char * name;
    size_t       size;
} struct_sizes[] = {
    LB_SIZE_OF(llama_batch),
    LB_SIZE_OF(llama_chat_message),
    LB_SIZE_OF(llama_context_params),
    LB_SIZE_OF(llama_logit_bias),
    LB_SIZE_OF(llama_model_kv_override),
    LB_SIZE_OF(llama_model_params),
    LB_SIZE_OF(llama_model_quantize_params),
    LB_SIZE_OF(llama_model_tensor_buft_override),
    LB_SIZE_OF(llama_opt_params),
    LB_SIZE_OF(llama_perf_context_data),
    LB_SIZE_OF(llama_perf_sampler_data),
    LB_SIZE_OF(llama_sampler_chain_params),
    LB_SIZE_OF(llama_sampler_seq_config),
    LB_SIZE_OF(llama_token_data),
    LB_SIZE_OF(llama_token_data_array),
    LB_SIZE_OF(mtmd_context_params),
    LB_SIZE_OF(mtmd_input_text),
};

const char * lb_llama_commit(void) {
#ifdef LB_LLAMA_COMMIT
    return LB_LLAMA_COMMIT;
#else
    return llama_commit();
#endif
}

int32_t lb_build_number(void) {
#ifdef LB_LLAMA_BUILD_NUMBER
    return LB_LLAMA_BUILD_NUMBER;
#else
    return llama_build_number();
#endif
}

size_t lb_struct_size(const char * name) {
    for (const auto & entry : struct_sizes) {
        if (name != nullptr && std::strcmp(entry.name, name) == 0) {
            return entry.size;
        }
    }
    return 0;
}
