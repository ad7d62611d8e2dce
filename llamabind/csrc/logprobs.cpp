// Log-probabilities of the most likely tokens, from raw logits.

#include "internal.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace {

// log(sum(exp(logits))), in double and relative to the maximum: it does not overflow, and small terms count.
double log_sum_exp(const float * logits, int32_t n_vocab) {
    const double highest = *std::max_element(logits, logits + n_vocab);
    double       sum     = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        sum += std::exp(static_cast<double>(logits[i]) - highest);
    }
    return highest + std::log(sum);
}

struct row {
    const float * logits;
    int32_t       n_vocab;
    double        normalizer;

    float logprob(llama_token token) const { return static_cast<float>(logits[token] - normalizer); }

    void top(std::vector<llama_token> & ids, int32_t k, llama_token * out_ids, float * out_logprobs) const {
        ids.resize(static_cast<size_t>(n_vocab));
        std::iota(ids.begin(), ids.end(), 0);
        std::partial_sort(ids.begin(), ids.begin() + k, ids.end(), [this](llama_token a, llama_token b) {
            return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
        });
        for (int32_t i = 0; i < k; i++) {
            out_ids[i]      = ids[static_cast<size_t>(i)];
            out_logprobs[i] = logprob(out_ids[i]);
        }
    }
};

void check_arguments(int32_t n, int32_t n_vocab, int32_t k, const llama_token * tokens) {
    if (n < 0 || n_vocab < 1 || k < 0 || k > n_vocab) {
        lb::invalid("logprobs: " + std::to_string(k) + " of " + std::to_string(n_vocab) + " tokens for " +
                    std::to_string(n) + " sequences");
    }
    for (int32_t i = 0; tokens != nullptr && i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= n_vocab) {
            lb::invalid("logprobs: token " + std::to_string(tokens[i]) + " is not in the vocabulary");
        }
    }
}

void check_row(const float * logits, int32_t n_vocab) {
    // The comparison is false for NaN, too, which could not be sorted.
    if (!std::all_of(logits, logits + n_vocab, [](float logit) { return logit < INFINITY; })) {
        throw lb::failure(LB_ERROR, "the model's logits contain NaN or infinity");
    }
}

}  // namespace

int32_t lb_top_logprobs(const float * const * logits, int32_t n, int32_t n_vocab, int32_t k,
                        const llama_token * tokens, llama_token * out_ids, float * out_logprobs,
                        float * out_token_logprobs) {
    return lb::guard_status([&] {
        check_arguments(n, n_vocab, k, tokens);
        std::vector<llama_token> ids;
        for (int32_t i = 0; i < n; i++) {
            check_row(logits[i], n_vocab);
            const row r{ logits[i], n_vocab, log_sum_exp(logits[i], n_vocab) };
            const auto offset = static_cast<size_t>(i) * static_cast<size_t>(k);
            if (k > 0) {
                r.top(ids, k, out_ids + offset, out_logprobs + offset);
            }
            if (tokens != nullptr && out_token_logprobs != nullptr) {
                out_token_logprobs[i] = r.logprob(tokens[i]);
            }
        }
        return LB_OK;
    });
}
