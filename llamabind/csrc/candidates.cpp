#include "candidates.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace {

using lb::candidates;

class buffer_pool {
  public:
    candidates take() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (free_.empty()) {
            return {};
        }
        auto buffer = std::move(free_.back());
        free_.pop_back();
        return buffer;
    }

    void give(candidates && buffer) {
        const std::lock_guard<std::mutex> lock(mutex_);
        free_.push_back(std::move(buffer));
    }

  private:
    std::mutex              mutex_;
    std::vector<candidates> free_;
};

buffer_pool & buffers() {
    static buffer_pool pool;
    return pool;
}

}  // namespace

namespace lb {

candidates take_candidates() { return buffers().take(); }

void give_candidates(candidates && buffer) { buffers().give(std::move(buffer)); }

void fill(candidates & buffer, const float * logits, int32_t n_vocab) {
    buffer.resize(static_cast<size_t>(n_vocab));
    bool is_good = true;
    for (int32_t i = 0; i < n_vocab; i++) {
        buffer[static_cast<size_t>(i)] = { i, logits[i], 0.0F };
        is_good = is_good && logits[i] < INFINITY;  // false for NaN too
    }
    if (!is_good) {
        throw lb::failure(LB_ERROR, "the model's logits contain NaN or infinity");
    }
}

void fill_best(candidates & buffer, const float * logits, int32_t n_vocab, size_t n_best) {
    constexpr int32_t block = 64;
    const auto is_better = [](const llama_token_data & a, const llama_token_data & b) { return a.logit > b.logit; };
    float bound   = -INFINITY;
    bool  is_good = true;
    buffer.clear();
    for (int32_t begin = 0; begin < n_vocab; begin += block) {
        const int32_t end = std::min(begin + block, n_vocab);
        int32_t       n_above = 0;
        int32_t       n_bad   = 0;
        for (int32_t i = begin; i < end; i++) {
            n_above += logits[i] > bound;
            n_bad += !(logits[i] < INFINITY);  // NaN too
        }
        is_good = is_good && n_bad == 0;
        if (n_above == 0) {
            continue;
        }
        for (int32_t i = begin; i < end; i++) {
            if (logits[i] > bound) {
                buffer.push_back({ i, logits[i], 0.0F });
            }
        }
        if (buffer.size() >= 2 * n_best + block) {
            std::nth_element(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n_best) - 1, buffer.end(), is_better);
            buffer.resize(n_best);
            bound = buffer.back().logit;
            for (const auto & entry : buffer) {
                bound = std::min(bound, entry.logit);
            }
        }
    }
    if (!is_good) {
        throw lb::failure(LB_ERROR, "the model's logits contain NaN or infinity");
    }
    // In the order of token ids, as `fill` does: among equal logits the samplers choose the first.
    std::sort(buffer.begin(), buffer.end(),
              [](const llama_token_data & a, const llama_token_data & b) { return a.id < b.id; });
}

void fill_min_p(candidates & buffer, const float * logits, int32_t n_vocab, float log_p, int32_t n_excluded) {
    constexpr int32_t block = 64;
    fill_best(buffer, logits, n_vocab, static_cast<size_t>(n_excluded) + 1);
    if (buffer.size() <= static_cast<size_t>(n_excluded)) {
        return;  // there are no others but -INFINITY
    }
    const auto nth = buffer.begin() + n_excluded;
    std::nth_element(buffer.begin(), nth, buffer.end(),
                     [](const llama_token_data & a, const llama_token_data & b) { return a.logit > b.logit; });
    // Slightly lower, since min-p rounds its own sum. It removes what is too much.
    const float bound = nth->logit + log_p - 1e-5F * (1.0F + std::fabs(nth->logit) - log_p);
    buffer.clear();
    for (int32_t begin = 0; begin < n_vocab; begin += block) {
        const int32_t end     = std::min(begin + block, n_vocab);
        int32_t       n_above = 0;
        for (int32_t i = begin; i < end; i++) {
            n_above += logits[i] >= bound;
        }
        for (int32_t i = begin; i < end && n_above > 0; i++) {
            if (logits[i] >= bound) {
                buffer.push_back({ i, logits[i], 0.0F });
                n_above--;
            }
        }
    }
}

void drop_impossible(candidates & buffer) {
    buffer.erase(std::remove_if(buffer.begin(), buffer.end(),
                                [](const llama_token_data & entry) { return entry.logit == -INFINITY; }),
                 buffer.end());
}

}  // namespace lb
