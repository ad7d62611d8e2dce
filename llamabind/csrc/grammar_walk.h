// Which tokens fit a grammar, by walking its stacks character by character, with what was walked remembered.

#pragma once

#include "grammar_source.h"
#include "token_text.h"

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace lb {

// llama.cpp tries a token along every path through the grammar, which takes time exponential in the token's length
// for a grammar that branches on the same text ("s ::= "=" s "b" | "=" s "c" | "=""), and cannot be interrupted. Here
// all stacks go forward together, and equal sets of stacks are one state. A state's characters fall into intervals
// that no stack tells apart, so a successor is found once for each of these and not for each character.
//
// A walk happens between two steps of an engine that has others to serve. What it costs is counted, not timed, so
// that the same grammar and text always end alike: each token earns some work, what it does not use is saved up to a
// limit, and a grammar that needs more than it has fails.
class grammar_walk {
  public:
    using state = uint32_t;

    static constexpr state DEAD = UINT32_MAX;

    // Units of work, about 10 ns each. A token earns PER_TOKEN.
    static constexpr double PER_TOKEN  = 250000;
    static constexpr double MAX_CREDIT = 8 * PER_TOKEN;

    // `rules` outlive this.
    explicit grammar_walk(const llama_grammar_rules & rules) : rules_(rules) {}

    // A walk of the same grammar's clone: nothing is remembered, but what was spent is spent.
    grammar_walk(const llama_grammar_rules & rules, const grammar_walk & other) :
        rules_(rules),
        credit_(other.credit_) {}

    // The state of these stacks, which may take characters only. May forget all earlier states.
    state begin(llama_grammar_stacks stacks);

    // DEAD if no stack takes the character, or too many would come of it.
    state next(state from, uint32_t character);

    // Whether some character that begins with these bytes can come next.
    bool takes_tail(state s, llama_partial_utf8 tail) const;

    // `from`, then the characters of a text.
    state follow(state from, const token_text & text);

    // What comes after these stacks took what is on their tops.
    llama_grammar_stacks after(const std::vector<const llama_grammar_stack *> & stacks);

    const llama_grammar_stacks & stacks_of(state s) const { return *states_[s].stacks; }

    // A token was accepted: there is more to spend again.
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
