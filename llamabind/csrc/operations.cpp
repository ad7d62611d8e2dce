// Operations of ours in place of ggml's.
//
// llama.cpp calls an evaluation callback for every node of a graph before the graph is computed. Ours turns some of them
// into a GGML_OP_CUSTOM, which ggml's threads then compute.

#include "attention_operation.h"
#include "cache_memory.h"
#include "panel_products.h"
#include "products.h"

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace {

struct operations {
    lb::attention_state attention;
    lb::panel_state     panels;    // no kernels if ggml computes the products
    lb::product_types   products;  // empty unless the context is deterministic
};

// The operations of each context that has any.
std::mutex mutex;

std::map<const llama_context *, std::unique_ptr<operations>> & contexts() {
    static auto * all = new std::map<const llama_context *, std::unique_ptr<operations>>;
    return *all;
}

// ggml_backend_sched_eval_callback. While it answers false to `ask`, ggml computes nothing.
bool prepare(ggml_tensor * op, bool ask, void * user_data) {
    auto * ours = static_cast<operations *>(user_data);
    if (ask) {
        if (ours->attention.chosen != nullptr) {
            lb::prepare_attention(ours->attention, op);
        }
        // Products of panels are deterministic, too.
        if (ours->panels.kernels != nullptr && lb::prepare_panel_product(ours->panels, op)) {
            return false;
        }
        if (ours->products != nullptr) {
            lb::prepare_product(ours->products, op);
        }
    }
    return !ask;
}

}  // namespace

extern "C" llama_context * lb_context_init(llama_model * model, const llama_context_params * cparams, const char * attention,
                                           const char * products, bool deterministic, int32_t settle_ms) {
    return lb::guard_pointer([&]() -> llama_context * {
        auto ours = std::make_unique<operations>();
        if (attention == nullptr || std::strcmp(attention, "ggml") != 0) {
            ours->attention.chosen = lb::find_attention(attention);
            if (attention != nullptr && ours->attention.chosen == nullptr) {
                lb::invalid("this library on this CPU has no attention kernel '" + std::string(attention) + "'");
            }
        }
        if (products == nullptr || std::strcmp(products, "ggml") != 0) {
            ours->panels.kernels = lb::find_panel_kernels(products);
            if (products != nullptr && ours->panels.kernels == nullptr) {
                lb::invalid("this library on this CPU has no kernels '" + std::string(products) + "' for products");
            }
        }
        if (deterministic) {
            ours->products = lb::find_product_types();
            if (ours->products == nullptr) {
                lb::invalid("this build of ggml has no functions for deterministic products");
            }
        }
        llama_context_params params = *cparams;
        const bool           has_any =
            ours->attention.chosen != nullptr || ours->panels.kernels != nullptr || ours->products != nullptr;
        if (has_any) {
            params.cb_eval           = prepare;
            params.cb_eval_user_data = ours.get();
        }
        const lb::lazy_caches lazy(settle_ms);
        llama_context *       ctx = llama_init_from_model(model, params);
        if (ctx != nullptr && has_any) {
            ours->attention.caches.find(ctx);
            const std::lock_guard<std::mutex> lock(mutex);
            contexts()[ctx] = std::move(ours);
        }
        return ctx;
    });
}

extern "C" bool lb_context_has_our_attention(const llama_context * ctx) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = contexts().find(ctx);
    return found != contexts().end() && found->second->attention.is_ours && !found->second->attention.is_mixed;
}

extern "C" void lb_context_free(llama_context * ctx) {
    llama_free(ctx);
    const std::lock_guard<std::mutex> lock(mutex);
    contexts().erase(ctx);
}
