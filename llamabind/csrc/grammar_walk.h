// Which tokens fit a grammar, by walking its stacks character by character, with what was walked remembered.

#pragma once

#include "grammar_source.h"
#include "token_text.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

namespace lb {

// llama.cpp tries a token along every path through the grammar, which takes time exponential in the token's length
// for a grammar that branches on the same text ("s ::= "=" s "b" | "=" s "c" | "=""), and cannot be interrupted. Here
// all stacks go forward together, their number is bounded, and equal sets of stacks are one state with one successor
// per character. The step itself is llama.cpp's (llama_grammar_accept).
class grammar_walk {
  public:
    using state = uint32_t;

    static constexpr state DEAD = UINT32_MAX;

    // `grammar` outlives this; its stacks are only borrowed within a call.
    grammar_walk(llama_grammar & grammar, const rule_facts & facts) : grammar_(grammar), facts_(facts) {}

    // The state of these stacks. May forget all earlier states.
    state begin(const llama_grammar_stacks & stacks);

    // DEAD if no stack takes the character, or too many would come of it.
    state next(state from, uint32_t character);

    // Whether some character that begins with these bytes can come next.
    bool takes_tail(state s, llama_partial_utf8 tail) const;

    // `from`, then the characters of a text.
    state follow(state from, const token_text & text);

    const llama_grammar_stacks & stacks_of(state s) const { return *states_[s]; }

  private:
    llama_grammar &                              grammar_;
    const rule_facts &                           facts_;
    std::map<llama_grammar_stacks, state>        ids_;
    std::vector<const llama_grammar_stacks *>    states_;  // the keys of ids_, by id
    std::unordered_map<uint64_t, state>          steps_;
    std::chrono::steady_clock::time_point        deadline_;

    state id_of(llama_grammar_stacks stacks);
};

// Marks in `is_allowed` (by token id) which tokens can follow `start` and the unfinished character `before`.
void mark_allowed(grammar_walk & walk, grammar_walk::state start, llama_partial_utf8 before, const vocabulary & tokens,
                  std::vector<char> & is_allowed);

}  // namespace lb
