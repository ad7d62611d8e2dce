// Sampling of many sequences in one call, with llama-server's order of grammar and samplers (common_sampler_sample).

#include "candidates.h"
#include "grammar.h"
#include "reasoning.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

struct lb_sampler {
    const llama_vocab *                    vocab;
    llama_sampler *                        chain;
    std::unique_ptr<lb_grammar>            grammar;
    std::unique_ptr<lb::reasoning_tracker> reasoning;
    bool                                   is_held = false;  // the grammar begins after the reasoning that the prompt opens
    int32_t                                n_best  = 0;      // the chain uses only this many of the largest logits; 0: all
    float                                  log_p   = 0;      // below 0: the logarithm of the min-p that the chain begins with
    int32_t                                n_excluded = 0;   // with log_p: the most tokens that the chain excludes before it

    lb_sampler(const llama_vocab * vocab, llama_sampler * chain) : vocab(vocab), chain(chain) {}

    lb_sampler(const lb_sampler &)             = delete;
    lb_sampler & operator=(const lb_sampler &) = delete;

    ~lb_sampler() { llama_sampler_free(chain); }

    // A template's grammar, which has a prefill, describes the reasoning, too. Any other describes only the text after it,
    // so it must wait until the reasoning ends.
    void hold_grammar() {
        is_held = reasoning && reasoning->is_inside() && grammar && !grammar->is_waiting() && !grammar->has_prefill();
    }

    // True within a tool call, which a lazy grammar describes from its trigger on; a call contains no reasoning.
    bool is_in_tool_call() const { return grammar && grammar->is_lazy() && !grammar->is_waiting(); }

    // True while the grammar, if there is one, does not constrain the answer.
    bool is_free() const { return !grammar || grammar->is_waiting() || is_held; }
};

namespace {

// Returns LLAMA_TOKEN_NULL if no token can be chosen; a chain that bans every candidate still selects one.
llama_token run_chain(llama_sampler * chain, lb::candidates & buffer) {
    lb::drop_impossible(buffer);
    if (buffer.empty()) {
        return LLAMA_TOKEN_NULL;
    }
    llama_token_data_array array{ buffer.data(), buffer.size(), -1, false };
    llama_sampler_apply(chain, &array);
    if (array.selected < 0 || static_cast<size_t>(array.selected) >= array.size) {
        throw lb::failure(LB_ERROR, "the sampler chain selected no token: does it end with one that selects?");
    }
    const auto & selected = array.data[array.selected];
    return selected.logit == -INFINITY ? LLAMA_TOKEN_NULL : selected.id;
}

// While the grammar is held, every token of the reasoning is allowed but two kinds: one that ends the generation before the
// end tag, and one whose text after the end tag does not fit the grammar.
bool is_allowed(const lb_sampler & sampler, llama_token token) {
    if (!sampler.is_held) {
        return sampler.is_free() || sampler.grammar->allows(token);
    }
    const auto text = sampler.reasoning->text_after_end(token);
    return !llama_vocab_is_eog(sampler.vocab, token) && (text.empty() || sampler.grammar->allows_text(text));
}

void apply_grammar(const lb_sampler & sampler, llama_token_data_array * array) {
    if (!sampler.is_held) {
        sampler.grammar->apply(array);
        return;
    }
    for (size_t i = 0; i < array->size; i++) {
        if (!is_allowed(sampler, array->data[i].id)) {
            array->data[i].logit = -INFINITY;
        }
    }
}

// The token that a used-up reasoning budget forces, or LLAMA_TOKEN_NULL.
llama_token forced_token(lb_sampler & sampler) {
    const auto token = sampler.reasoning ? sampler.reasoning->forced_token() : LLAMA_TOKEN_NULL;
    if (token != LLAMA_TOKEN_NULL && !sampler.is_held && !is_allowed(sampler, token)) {
        sampler.reasoning->stop_forcing();
        return LLAMA_TOKEN_NULL;
    }
    return token;
}

// The token that ends an answer whose grammar is complete, where the chain bans all tokens that end one (min_tokens).
llama_token end_of_grammar(const lb_sampler & sampler) {
    if (!sampler.is_held && sampler.grammar->is_complete()) {
        for (const auto token : { llama_vocab_eos(sampler.vocab), llama_vocab_eot(sampler.vocab) }) {
            if (token != LLAMA_TOKEN_NULL && llama_vocab_is_eog(sampler.vocab, token)) {
                return token;
            }
        }
    }
    throw lb::failure(LB_GRAMMAR_DEAD_END, "no token of the vocabulary can continue the grammar");
}

llama_token sample(lb_sampler & sampler, const float * logits, int32_t n_vocab, lb::candidates & buffer) {
    const auto forced = forced_token(sampler);
    if (forced != LLAMA_TOKEN_NULL) {
        return forced;
    }
    if (sampler.n_best > 0 && sampler.n_best < n_vocab) {
        lb::fill_best(buffer, logits, n_vocab, static_cast<size_t>(sampler.n_best));
    } else if (sampler.log_p < 0.0F && sampler.n_excluded < n_vocab) {
        lb::fill_min_p(buffer, logits, n_vocab, sampler.log_p, sampler.n_excluded);
    } else {
        lb::fill(buffer, logits, n_vocab);
    }
    llama_token token = run_chain(sampler.chain, buffer);
    if (sampler.is_free() && !sampler.is_held) {
        if (token == LLAMA_TOKEN_NULL) {
            throw lb::failure(LB_ERROR, "every token is ruled out, by the model's logits or by the samplers");
        }
        return token;
    }
    if (token != LLAMA_TOKEN_NULL && is_allowed(sampler, token)) {
        return token;
    }
    lb::fill(buffer, logits, n_vocab);
    llama_token_data_array array{ buffer.data(), buffer.size(), -1, false };
    apply_grammar(sampler, &array);
    token = run_chain(sampler.chain, buffer);
    return token != LLAMA_TOKEN_NULL && is_allowed(sampler, token) ? token : end_of_grammar(sampler);
}

[[noreturn]] void refuse(llama_token token) {
    throw lb::failure(LB_TOKEN_REFUSED, "the grammar does not allow token " + std::to_string(token) + " here");
}

// Accepts a token of the reasoning. Only a template's grammar gets each of these tokens. A held grammar gets the text after
// the end tag, and a lazy one the tokens of the end tag as well, since they may contain its trigger.
void accept_reasoning(lb_sampler & sampler, llama_token token) {
    const bool is_free = sampler.is_free();
    if (!(is_free ? is_allowed(sampler, token) : sampler.grammar->accept(token))) {
        refuse(token);
    }
    const auto end = sampler.reasoning->accept_inside(token);
    if (!end || !is_free || !sampler.grammar) {
        return;
    }
    if (sampler.is_held) {
        sampler.is_held = false;
        sampler.grammar->accept_text(end->text_after);
        return;
    }
    for (const auto one : end->tokens) {
        sampler.grammar->accept(one);
    }
}

void accept_generated(lb_sampler & sampler, llama_token token) {
    if (sampler.reasoning && sampler.reasoning->is_inside() && !sampler.is_in_tool_call()) {
        accept_reasoning(sampler, token);
        return;
    }
    if (sampler.grammar && !sampler.grammar->accept(token)) {
        refuse(token);
    }
    if (sampler.reasoning && !sampler.is_in_tool_call()) {
        sampler.reasoning->accept_outside(token, sampler.is_free());
    }
}

void accept(lb_sampler & sampler, llama_token token, bool is_generated) {
    if (is_generated) {
        accept_generated(sampler, token);
    }
    llama_sampler_accept(sampler.chain, token);
}

// One call of lb_sample. The sequences share nothing, so any thread may sample any of them.
struct sample_job {
    lb_sampler * const *  samplers;
    const float * const * logits;
    int32_t               n;
    int32_t               n_vocab;
    bool                  do_accept;
    llama_token *         out_tokens;
    int32_t *             out_status;
    std::atomic<int32_t>  next{ 0 };
    std::vector<std::string> messages;

    void sample_one(int32_t i, lb::candidates & buffer) noexcept {
        out_tokens[i] = LLAMA_TOKEN_NULL;
        out_status[i] = lb::guard_status([&] {
            lb::expect_token(samplers[i]->vocab, n_vocab - 1);
            const auto token = sample(*samplers[i], logits[i], n_vocab, buffer);
            if (do_accept) {
                accept(*samplers[i], token, true);
            }
            out_tokens[i] = token;
            return LB_OK;
        });
        if (out_status[i] != LB_OK) {
            keep_message(i);
        }
    }

    // Copies the error, which belongs to a thread that is about to end.
    void keep_message(int32_t i) noexcept {
        try {
            messages[static_cast<size_t>(i)] = lb_last_error();
        } catch (...) {
            out_status[i] = LB_NO_MEMORY;
        }
    }

    void work() noexcept {
        try {
            auto buffer = lb::take_candidates();
            for (int32_t i = next++; i < n; i = next++) {
                sample_one(i, buffer);
            }
            lb::give_candidates(std::move(buffer));
        } catch (...) {
            // Only lb::give_candidates() throws; the buffer is freed then.
        }
    }
};

void run(sample_job & job, int32_t n_threads) {
    std::vector<std::thread> threads;
    const int32_t            n_others = std::min(n_threads, job.n) - 1;
    try {
        for (int32_t i = 0; i < n_others; i++) {
            threads.emplace_back([&job] { job.work(); });
        }
    } catch (const std::exception &) {
        // Fewer threads do the same work in more time.
    }
    job.work();
    for (auto & thread : threads) {
        thread.join();
    }
}

}  // namespace

lb_sampler * lb_sampler_init(const llama_vocab * vocab, llama_sampler * chain, lb_grammar * grammar) {
    return lb::guard_pointer([&] {
        if (vocab == nullptr || chain == nullptr) {
            lb::invalid("sampler: the vocabulary and the chain must not be NULL");
        }
        auto * sampler = new lb_sampler(vocab, chain);
        sampler->grammar.reset(grammar);
        return sampler;
    });
}

lb_sampler * lb_sampler_clone(const lb_sampler * sampler) {
    return lb::guard_pointer([&] {
        auto grammar = sampler->grammar ? std::make_unique<lb_grammar>(*sampler->grammar) : nullptr;
        auto copy    = std::make_unique<lb_sampler>(sampler->vocab, llama_sampler_clone(sampler->chain));
        copy->grammar = std::move(grammar);
        copy->reasoning = sampler->reasoning ? std::make_unique<lb::reasoning_tracker>(*sampler->reasoning) : nullptr;
        copy->is_held = sampler->is_held;
        copy->n_best  = sampler->n_best;
        copy->log_p   = sampler->log_p;
        copy->n_excluded = sampler->n_excluded;
        return copy.release();
    });
}

void lb_sampler_set_n_best(lb_sampler * sampler, int32_t n_best) { sampler->n_best = n_best; }

void lb_sampler_set_min_p(lb_sampler * sampler, float log_p, int32_t n_excluded) {
    sampler->log_p      = log_p;
    sampler->n_excluded = std::max(n_excluded, 0);
}

int32_t lb_sampler_track_reasoning(lb_sampler * sampler, const char * spec_json) {
    return lb::guard_status([&] {
        const auto tags  = lb::read_reasoning_tags(sampler->vocab, lb::parse_json(spec_json, "reasoning"));
        sampler->reasoning = std::make_unique<lb::reasoning_tracker>(sampler->vocab, tags);
        sampler->hold_grammar();
        return LB_OK;
    });
}

void lb_sampler_free(lb_sampler * sampler) { delete sampler; }

int32_t lb_sampler_reset(lb_sampler * sampler) {
    return lb::guard_status([&] {
        llama_sampler_reset(sampler->chain);
        if (sampler->grammar) {
            sampler->grammar->reset();
        }
        if (sampler->reasoning) {
            sampler->reasoning->reset();
        }
        sampler->hold_grammar();
        return LB_OK;
    });
}

int32_t lb_sampler_accept(lb_sampler * sampler, llama_token token, bool is_generated) {
    return lb::guard_status([&] {
        lb::expect_token(sampler->vocab, token);
        accept(*sampler, token, is_generated);
        return LB_OK;
    });
}

int32_t lb_sample(lb_sampler * const * samplers, const float * const * logits, int32_t n, int32_t n_vocab,
                  bool accept, int32_t n_threads, llama_token * out_tokens, int32_t * out_status) {
    return lb::guard_status([&]() -> int32_t {
        sample_job job{ samplers, logits, n, n_vocab, accept, out_tokens, out_status, { 0 }, {} };
        job.messages.resize(static_cast<size_t>(std::max(n, 0)));
        run(job, n_threads);
        for (int32_t i = 0; i < n; i++) {
            if (out_status[i] != LB_OK) {
                return lb::set_error(out_status[i], job.messages[static_cast<size_t>(i)]);
            }
        }
        return LB_OK;
    });
}
