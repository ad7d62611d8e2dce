// The C interface of grammars.

#include "grammar.h"

namespace {

constexpr size_t PARSE_STACK = 64 * lb::MiB;

}  // namespace

lb_grammar * lb_grammar_init(const llama_vocab * vocab, const char * spec_json) {
    return lb::guard_pointer([&] {
        if (vocab == nullptr || llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
            lb::invalid("grammar: the model has no vocabulary");
        }
        std::unique_ptr<lb_grammar> grammar;
        lb::run_with_stack(PARSE_STACK, [&] {
            const auto source = lb::read_grammar(vocab, lb::parse_json(spec_json, "the grammar's description"));
            grammar           = std::make_unique<lb_grammar>(vocab, source);
        });
        return grammar.release();
    });
}

lb_grammar * lb_grammar_clone(const lb_grammar * grammar) {
    return lb::guard_pointer([&] { return new lb_grammar(*grammar); });
}

void lb_grammar_free(lb_grammar * grammar) { delete grammar; }

int32_t lb_grammar_reset(lb_grammar * grammar) {
    return lb::guard_status([&] {
        grammar->reset();
        return LB_OK;
    });
}

int32_t lb_grammar_check(const lb_grammar * grammar, llama_token token) {
    return lb::guard_status([&] {
        grammar->expect_token(token);
        return grammar->allows(token) ? LB_OK : lb::refuse_token(token);
    });
}

int32_t lb_grammar_accept(lb_grammar * grammar, llama_token token) {
    return lb::guard_status([&] {
        grammar->expect_token(token);
        return grammar->accept(token) ? LB_OK : lb::refuse_token(token);
    });
}

int32_t lb_grammar_apply(const lb_grammar * grammar, llama_token_data_array * candidates) {
    return lb::guard_status([&] {
        for (size_t i = 0; i < candidates->size; i++) {
            grammar->expect_token(candidates->data[i].id);
        }
        grammar->apply(candidates);
        return LB_OK;
    });
}

bool lb_grammar_is_waiting(const lb_grammar * grammar) { return grammar->is_waiting(); }

bool lb_grammar_is_complete(const lb_grammar * grammar) { return grammar->is_complete(); }
