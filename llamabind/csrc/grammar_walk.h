// Finds the tokens that fit a grammar by walking its stacks character by character, and remembers the states on the way.

#pragma once

#include "grammar_source.h"
#include "token_text.h"

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace lb {

// llama.cpp tries a token along every path through the grammar. For a grammar that branches on the same text
// ("s ::= "=" s "b" | "=" s "c" | "="") that takes time exponential in the token's length, and it cannot be interrupted.
// Here all stacks advance together, and equal sets of stacks are one state. A state divides the characters into
// intervals that all its stacks treat alike, so the successor is computed once for each interval, not each character.
//
// The engine's other sequences wait during a walk, so its work is limited. Work is counted, not timed, so that the same
// grammar and text always have the same result: each token earns PER_TOKEN units, unused units are saved up to
// MAX_CREDIT, and a grammar that needs more units than it has fails.
class grammar_walk {
  public:
    using state = uint32_t;

    static constexpr state DEAD = UINT32_MAX;

    // Units of work, about 10 ns each.
    static constexpr double PER_TOKEN  = 250000;
    static constexpr double MAX_CREDIT = 8 * PER_TOKEN;

    // `rules` must outlive this object.
    explicit grammar_walk(const llama_grammar_rules & rules) : rules_(rules) {}

    // The walk of a clone of the grammar: it has the same credit, but no remembered states.
    grammar_walk(const llama_grammar_rules & rules, const grammar_walk & other) :
        rules_(rules),
        credit_(other.credit_) {}

    // The state of these stacks, none of which may have a token rule on top. May invalidate all earlier states.
    state begin(llama_grammar_stacks stacks);

    // DEAD if no stack accepts the character, or more than MAX_STACKS would follow.
    state next(state from, uint32_t character);

    // True if a character that begins with these bytes can come next.
    bool takes_tail(state s, llama_partial_utf8 tail) const;

    // The state after all characters of a text.
    state follow(state from, const token_text & text);

    // The stacks after these have accepted the elements on their tops.
    llama_grammar_stacks after(const std::vector<const llama_grammar_stack *> & stacks);

    const llama_grammar_stacks & stacks_of(state s) const { return *states_[s].stacks; }

    // Adds PER_TOKEN to the credit; called for each accepted token.
    void earn();

  private:
    struct node {
        const llama_grammar_stacks * stacks;   // the key in ids_
        std::vector<uint32_t>        begins;   // of the intervals, the first is 0
        std::vector<state>           targets;  // of the intervals: a state, DEAD or UNKNOWN

        size_t interval_of(uint32_t character) const;
    };

    static constexpr state UNKNOWN = UINT32_MAX - 1;

    const llama_grammar_rules &           rules_;
    std::map<llama_grammar_stacks, state> ids_;
    std::deque<node>                      states_;
    double                                n_kept_ = 0;  // elements of all states' stacks and intervals
    double                                credit_ = MAX_CREDIT;

    void  spend(double n);
    state id_of(llama_grammar_stacks stacks);
    node  make_node(const llama_grammar_stacks & stacks);
    state find_next(state from, uint32_t character);
};

// Marks in `is_allowed` (by token id) which tokens can follow `start` and the unfinished character `before`.
void mark_allowed(grammar_walk & walk, grammar_walk::state start, llama_partial_utf8 before, const vocabulary & tokens,
                  std::vector<char> & is_allowed);

}  // namespace lb
