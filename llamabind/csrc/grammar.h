// A guarded grammar: llama.cpp's automaton, asked before it is told.

#pragma once

#include "grammar_source.h"

#include <memory>
#include <string>
#include <vector>

namespace lb {

// The piece of a token as llama.cpp's grammars see it: special tokens as text.
std::string piece_of(const llama_vocab * vocab, llama_token token);

// LB_INVALID for an id that the vocabulary does not have: llama.cpp would read beyond its tables.
void expect_token(const llama_vocab * vocab, llama_token token);

// Sets the error of a refused token and gives its status.
int32_t refuse_token(llama_token token);

struct grammar_source {
    std::string              root;
    llama_grammar_parser     parser;
    rule_facts               facts;
    trigger_set              triggers;
    bool                     is_lazy = false;
    std::vector<llama_token> prefill;

    explicit grammar_source(const llama_vocab * vocab) : parser(vocab) {}
};

struct grammar_deleter {
    void operator()(llama_grammar * grammar) const { llama_grammar_free_impl(grammar); }
};

}  // namespace lb

struct lb_grammar {
    lb_grammar(const llama_vocab * vocab, std::shared_ptr<const lb::grammar_source> source);

    lb_grammar(const lb_grammar & other);
    lb_grammar & operator=(const lb_grammar &) = delete;

    void reset();

    void expect_token(llama_token token) const { lb::expect_token(vocab_, token); }

    bool is_waiting() const { return is_waiting_; }
    bool is_complete() const;

    // May throw (no memory), else all of these leave the grammar usable.
    bool allows(llama_token token) const;
    bool accept(llama_token token);
    void apply(llama_token_data_array * candidates) const;

  private:
    struct waiting_token {
        llama_token token;
        size_t      begin;  // in waiting_text_
    };

    const llama_vocab *                                  vocab_;
    std::shared_ptr<const lb::grammar_source>            source_;
    std::unique_ptr<llama_grammar, lb::grammar_deleter>  state_;
    bool                                                 is_waiting_ = false;
    bool                                                 is_whole_   = true;  // waiting_text_ is all there was
    std::string                                          waiting_text_;
    std::vector<waiting_token>                           waiting_tokens_;

    void restart();
    void accept_prefill();
    bool accept_waiting(llama_token token);
    bool accept_from(size_t start);
    bool accept_piece(llama_token token, const std::string & piece);
    bool stays_small(const std::string & piece);
    void forget_old_text();
};
