// A parsed, checked grammar, shared by all handles and clones made from it.

#pragma once

#include "internal.h"

#include "llama-grammar.h"

#include <memory>
#include <regex>
#include <string>
#include <vector>

namespace lb {

// grammar_limits.cpp: LB_INVALID for GBNF text that would overflow the stack of llama.cpp's parser or fill the memory.
void check_grammar_text(const std::string & text);

// grammar_rules.cpp: LB_INVALID for rules that would make llama.cpp's automaton abort or run without end.
void check_grammar_rules(const llama_grammar_parser & parser);

// Limit on the stacks of a grammar, one for each way in which the text can go on. llama.cpp compares all pairs of the
// first ones.
constexpr size_t MAX_STACKS = 10000;

// grammar_trigger.cpp: the words, patterns and tokens that start a lazy grammar.
class trigger_set {
  public:
    // Bytes of text that are kept while waiting for a trigger. After more, patterns that begin with ^ no longer match.
    static constexpr size_t MAX_BUFFER = 4096;

    void add(const json & trigger, const std::string & where);
    bool empty() const { return triggers_.empty(); }
    bool has_token(llama_token token) const;

    // If the last n_new bytes complete a trigger, the position from which the grammar gets the text; else npos.
    size_t find(const std::string & text, size_t n_new, bool is_whole) const;

  private:
    struct trigger {
        llama_token token = LLAMA_TOKEN_NULL;
        std::string word;
        std::regex  pattern;
        bool        is_anchored = false;
    };

    std::vector<trigger> triggers_;
    double               n_states_ = 0;  // of all patterns, which are all tried after every token

    static size_t find_pattern(const trigger & t, const std::string & text, bool is_whole);
};

struct grammar_source {
    std::string              root;
    llama_grammar_parser     parser;
    trigger_set              triggers;
    bool                     is_lazy = false;
    std::vector<llama_token> prefill;

    explicit grammar_source(const llama_vocab * vocab) : parser(vocab) {}
};

// grammar_source.cpp. LB_INVALID for a grammar that is refused. Recurses as deep as the grammar nests: needs a large stack.
std::shared_ptr<const grammar_source> read_grammar(const llama_vocab * vocab, const json & spec);

}  // namespace lb
