// A grammar, its state in the generated text, and which tokens it allows next.

#pragma once

#include "grammar_walk.h"

#include <memory>
#include <string>
#include <vector>

namespace lb {

// Sets the error of a refused token and gives its status.
int32_t refuse_token(llama_token token);

struct grammar_deleter {
    void operator()(llama_grammar * grammar) const { llama_grammar_free_impl(grammar); }
};

}  // namespace lb

struct lb_grammar {
    lb_grammar(const llama_vocab * vocab, std::shared_ptr<const lb::grammar_source> source);

    lb_grammar(const lb_grammar & other);
    lb_grammar & operator=(const lb_grammar &) = delete;

    void reset();

    bool is_lazy() const { return source_->is_lazy; }
    bool is_waiting() const { return is_waiting_; }
    bool has_prefill() const { return !source_->prefill.empty(); }
    bool is_complete() const;

    // If one of these throws, the grammar is unchanged.
    void expect_token(llama_token token) const { lb::expect_token(vocab_, token); }
    bool allows(llama_token token) const;
    bool accept(llama_token token);
    void apply(llama_token_data_array * candidates) const;

    // The same for the text of a token after the end tag of reasoning. Leading white space is not part of the grammar.
    bool allows_text(const std::string & text) const;
    bool accept_text(const std::string & text);

  private:
    struct waiting_token {
        llama_token token;
        size_t      begin;  // in waiting_text_
    };

    const llama_vocab *                                 vocab_;
    std::shared_ptr<const lb::grammar_source>           source_;
    std::unique_ptr<llama_grammar, lb::grammar_deleter> state_;
    std::unique_ptr<lb::grammar_walk>                   walk_;
    std::shared_ptr<const lb::vocabulary>               tokens_;
    mutable lb::grammar_walk::state                     start_ = lb::grammar_walk::DEAD;  // of state_; DEAD: not computed
    bool                                                is_waiting_ = false;
    bool                                                is_whole_   = true;  // waiting_text_ is the whole answer
    std::string                                         waiting_text_;
    std::vector<waiting_token>                          waiting_tokens_;

    void restart();
    void accept_prefill();
    void accept_waiting(llama_token token);
    void stop_waiting();
    void forget_old_text();
    bool accept_from(size_t start);
    bool accept_piece(llama_token token, const std::string & piece);

    bool                     can_end() const;
    bool                     matches_token_rule(llama_token token) const;
    lb::grammar_walk::state  begin_walk() const;
    void                     set_stacks(llama_grammar_stacks stacks, llama_partial_utf8 partial);
    void                     mark_token_rules(std::vector<char> & is_marked) const;
};
