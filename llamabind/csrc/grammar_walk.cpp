// Walking a grammar's stacks: bounded in number, in memory and in time.

#include "grammar_walk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace {

constexpr size_t MAX_STATES = 20000;
constexpr size_t MAX_STEPS  = 1000000;
constexpr auto   MAX_TIME   = std::chrono::seconds(5);

// Whether a stack's top takes the character: what llama.cpp would find out too, after copying all stacks.
bool takes(const llama_grammar_stack & stack, uint32_t character) {
    if (stack.empty()) {
        return false;
    }
    const llama_grammar_element * pos    = stack.back();
    const bool                    is_not = pos->type == LLAMA_GRETYPE_CHAR_NOT;
    if (pos->type == LLAMA_GRETYPE_CHAR_ANY) {
        return true;
    }
    if (pos->type != LLAMA_GRETYPE_CHAR && !is_not) {
        return false;
    }
    bool is_found = false;
    do {
        const bool is_range = pos[1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
        is_found            = is_found ||
                   (is_range ? pos->value <= character && character <= pos[1].value : pos->value == character);
        pos += is_range ? 2 : 1;
    } while (pos->type == LLAMA_GRETYPE_CHAR_ALT);
    return is_found != is_not;
}

// Exchanges two sets of stacks, and exchanges them back however the scope is left.
struct borrowed {
    llama_grammar_stacks & a;
    llama_grammar_stacks & b;

    borrowed(llama_grammar_stacks & a, llama_grammar_stacks & b) : a(a), b(b) { a.swap(b); }

    ~borrowed() { a.swap(b); }
};

}  // namespace

namespace lb {

grammar_walk::state grammar_walk::begin(const llama_grammar_stacks & stacks) {
    if (states_.size() > MAX_STATES || steps_.size() > MAX_STEPS) {
        ids_.clear();
        states_.clear();
        steps_.clear();
    }
    deadline_ = std::chrono::steady_clock::now() + MAX_TIME;
    return id_of(stacks);
}

grammar_walk::state grammar_walk::id_of(llama_grammar_stacks stacks) {
    std::sort(stacks.begin(), stacks.end());
    const auto [it, is_new] = ids_.emplace(std::move(stacks), static_cast<state>(states_.size()));
    if (is_new) {
        states_.push_back(&it->first);
    }
    return it->second;
}

grammar_walk::state grammar_walk::next(state from, uint32_t character) {
    const uint64_t key  = (static_cast<uint64_t>(from) << 32) | character;
    const auto     seen = steps_.find(key);
    if (seen != steps_.end()) {
        return seen->second;
    }
    if (std::chrono::steady_clock::now() > deadline_) {
        throw failure(LB_ERROR, "the grammar is too ambiguous: it takes too long to find what it allows");
    }
    state                result = DEAD;
    llama_grammar_stacks stacks;
    std::copy_if(states_[from]->begin(), states_[from]->end(), std::back_inserter(stacks),
                 [character](const llama_grammar_stack & stack) { return takes(stack, character); });
    if (count_next_stacks(stacks, facts_) > MAX_STACKS) {
        stacks.clear();
    }
    if (!stacks.empty()) {
        const borrowed loan(grammar_.stacks, stacks);
        llama_grammar_accept(&grammar_, character);
    }
    if (!stacks.empty()) {
        result = id_of(std::move(stacks));
    }
    steps_.emplace(key, result);
    return result;
}

bool grammar_walk::takes_tail(state s, llama_partial_utf8 tail) const {
    static const uint32_t                end = 0;
    const llama_grammar_candidates one = { { 0, &end, tail, 0 } };
    return std::any_of(states_[s]->begin(), states_[s]->end(), [&](const llama_grammar_stack & stack) {
        return llama_grammar_reject_candidates_for_stack(grammar_.rules, stack, one).empty();
    });
}

grammar_walk::state grammar_walk::follow(state from, const token_text & text) {
    for (size_t i = 0; i < text.characters.size() && from != DEAD; i++) {
        from = next(from, text.characters[i]);
    }
    const bool has_tail = text.tail.n_remain != 0;
    return from == DEAD || (has_tail && !takes_tail(from, text.tail)) ? DEAD : from;
}

// The entries are sorted: `path` holds the states along the characters of the entry before, up to the first DEAD.
static void mark_entries(grammar_walk & walk, grammar_walk::state start, const vocabulary & tokens,
                         std::vector<char> & is_allowed) {
    std::vector<grammar_walk::state> path{ start };
    for (const auto & entry : tokens.entries()) {
        path.resize(std::min<size_t>(path.size(), entry.n_shared + 1));
        while (path.back() != grammar_walk::DEAD && path.size() <= entry.n_characters) {
            path.push_back(walk.next(path.back(), tokens.characters()[entry.begin + path.size() - 1]));
        }
        const bool is_dead = path.back() == grammar_walk::DEAD ||
                             (entry.tail.n_remain != 0 && !walk.takes_tail(path.back(), entry.tail));
        is_allowed[static_cast<size_t>(entry.id)] = is_dead ? 0 : 1;
    }
}

void mark_allowed(grammar_walk & walk, grammar_walk::state start, llama_partial_utf8 before, const vocabulary & tokens,
                  std::vector<char> & is_allowed) {
    if (before.n_remain <= 0) {
        mark_entries(walk, start, tokens, is_allowed);
        return;
    }
    for (const auto & fragment : tokens.fragments()) {
        const token_text text(fragment.piece, before);
        const bool       is_bad = text.tail.n_remain < 0 || walk.follow(start, text) == grammar_walk::DEAD;
        is_allowed[static_cast<size_t>(fragment.id)] = is_bad ? 0 : 1;
    }
}

}  // namespace lb
