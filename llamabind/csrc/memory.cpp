// The memory that a context uses, and the parameters with which a model fits the devices.

#include "internal.h"

#include "fit.h"
#include "llama-ext.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

using lb::json;

// Declared in llama-model.h: every tensor of the model, with its buffer.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

namespace {

struct figures {
    size_t model   = 0;
    size_t context = 0;
    size_t compute = 0;

    json to_json() const {
        json result;
        result["model"]   = model;
        result["context"] = context;
        result["compute"] = compute;
        return result;
    }
};

const char * type_name(ggml_backend_dev_t device) {
    switch (ggml_backend_dev_type(device)) {
        case GGML_BACKEND_DEVICE_TYPE_CPU:   return "cpu";
        case GGML_BACKEND_DEVICE_TYPE_GPU:   return "gpu";
        case GGML_BACKEND_DEVICE_TYPE_IGPU:  return "igpu";
        case GGML_BACKEND_DEVICE_TYPE_ACCEL: return "accel";
        default:                             return "other";
    }
}

json device_to_json(ggml_backend_dev_t device, const figures & used) {
    json result           = used.to_json();
    result["name"]        = ggml_backend_dev_name(device);
    result["description"] = ggml_backend_dev_description(device);
    result["type"]        = type_name(device);
    return result;
}

// The allocated size of all weights in each buffer type.
std::map<ggml_backend_buffer_type_t, size_t> weights(const llama_model * model) {
    std::map<ggml_backend_buffer_type_t, size_t> sizes;
    for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
        if (tensor->buffer != nullptr) {
            auto * type = ggml_backend_buffer_get_type(tensor->buffer);
            sizes[type] += GGML_PAD(ggml_backend_buft_get_alloc_size(type, tensor), ggml_backend_buft_get_alignment(type));
        }
    }
    return sizes;
}

json breakdown(const llama_context * ctx) {
    std::map<ggml_backend_dev_t, figures> devices;
    figures                               host;
    auto                                  in_use = weights(llama_get_model(ctx));
    size_t                                mapped = 0;
    for (auto [buffer_type, used] : llama_get_memory_breakdown(ctx)) {
        // A mapping reaches from the first weight used from the file to the last. Weights between them that were copied
        // elsewhere (repacked, or to a GPU) are counted there; their pages in the mapping are not read again.
        used.model = std::min(used.model, in_use[buffer_type]);
        auto *    device = ggml_backend_buft_get_device(buffer_type);
        // Repacked weights of a CPU are in host memory, though ggml does not call their buffer type a host type.
        const bool is_host = ggml_backend_buft_is_host(buffer_type) || device == nullptr ||
                             ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
        auto & sum = is_host ? host : devices[device];
        if (std::strcmp(ggml_backend_buft_name(buffer_type), "CPU_Mapped") == 0) {
            mapped += used.model;
        }
        sum.model += used.model;
        sum.context += used.context;
        sum.compute += used.compute;
    }
    json list = json::array();
    for (const auto & [device, used] : devices) {
        list.push_back(device_to_json(device, used));
    }
    json result;
    result["devices"] = list;
    result["host"]    = host.to_json();

    result["host"]["mapped"] = mapped;
    return result;
}

int32_t fit(const char * path, llama_model_params * mparams, llama_context_params * cparams, float * tensor_split,
            llama_model_tensor_buft_override * buft_overrides, size_t * margins, uint32_t n_ctx_min) {
    std::vector<size_t> default_margins(std::max<size_t>(1, llama_max_devices()), 1024 * lb::MiB);
    const auto          status =
        common_fit_params(path, mparams, cparams, tensor_split, buft_overrides,
                          margins != nullptr ? margins : default_margins.data(), n_ctx_min, nullptr, GGML_LOG_LEVEL_ERROR);
    switch (status) {
        case COMMON_PARAMS_FIT_STATUS_SUCCESS:
            return LB_OK;
        case COMMON_PARAMS_FIT_STATUS_FAILURE:
            throw lb::failure(LB_ERROR, "the model does not fit the devices' free memory");
        default:
            throw lb::failure(LB_ERROR, std::string("cannot fit ") + path + ": it cannot be loaded");
    }
}

}  // namespace

char * lb_memory_breakdown(const llama_context * ctx) {
    return lb::guard_pointer([&] { return lb::copy_string(breakdown(ctx).dump_safe()); });
}

int32_t lb_fit_params(const char * path, llama_model_params * mparams, llama_context_params * cparams,
                      float * tensor_split, llama_model_tensor_buft_override * buft_overrides, size_t * margins,
                      uint32_t n_ctx_min) {
    return lb::guard_status(
        [&] { return fit(path, mparams, cparams, tensor_split, buft_overrides, margins, n_ctx_min); });
}
