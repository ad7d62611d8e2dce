// Walks a grammar's stacks with limits on their number, memory and work.

#include "grammar_walk.h"

#include <algorithm>
#include <set>
#include <utility>

namespace {

constexpr size_t   MAX_STATES = 20000;
constexpr double   MAX_KEPT   = 8e6;  // elements, about 64 MB
constexpr uint32_t LAST_CHAR  = UINT32_MAX - 1;

// In units of work; reading or copying an element is one.
constexpr double ALLOCATION = 20;
constexpr double SORTING    = 8;

using stack = llama_grammar_stack;

struct range {
    uint32_t first;
    uint32_t last;
};

bool is_end(const llama_grammar_element * e) { return e->type == LLAMA_GRETYPE_END || e->type == LLAMA_GRETYPE_ALT; }

bool takes_characters(const stack & s) {
    return !s.empty() && (s.back()->type == LLAMA_GRETYPE_CHAR || s.back()->type == LLAMA_GRETYPE_CHAR_NOT ||
                          s.back()->type == LLAMA_GRETYPE_CHAR_ANY);
}

// The element after a terminal: a class of characters has several elements.
const llama_grammar_element * after_terminal(const llama_grammar_element * pos) {
    do {
        pos++;
    } while (pos->type == LLAMA_GRETYPE_CHAR_ALT || pos->type == LLAMA_GRETYPE_CHAR_RNG_UPPER);
    return pos;
}

double n_elements_of(const stack & s) {
    return s.empty() ? 1 : static_cast<double>(after_terminal(s.back()) - s.back());
}

// Calls `add` with each range of characters that the stack's top accepts, in ascending order without overlaps.
template <typename F> void for_each_range(const stack & s, F && add) {
    if (!takes_characters(s)) {
        return;
    }
    const llama_grammar_element * pos = s.back();
    if (pos->type == LLAMA_GRETYPE_CHAR_ANY) {
        add(range{ 0, LAST_CHAR });
        return;
    }
    const bool         is_not = pos->type == LLAMA_GRETYPE_CHAR_NOT;
    std::vector<range> listed;
    const auto *       end = after_terminal(pos);
    while (pos != end) {
        const bool is_range = pos[1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
        const range r{ pos->value, std::min(is_range ? pos[1].value : pos->value, LAST_CHAR) };
        if (r.first <= r.last) {
            listed.push_back(r);
        }
        pos += is_range ? 2 : 1;
    }
    std::sort(listed.begin(), listed.end(), [](const range & a, const range & b) { return a.first < b.first; });
    uint32_t begin = 0;  // the first character not handled yet
    for (const auto & r : listed) {
        if (is_not && r.first > begin) {
            add(range{ begin, r.first - 1 });
        } else if (!is_not && r.last >= begin) {
            add(range{ std::max(begin, r.first), r.last });
        }
        begin = std::max(begin, r.last + 1);
    }
    if (is_not && begin <= LAST_CHAR) {
        add(range{ begin, LAST_CHAR });
    }
}

bool takes(const stack & s, uint32_t character) {
    if (!takes_characters(s)) {
        return false;
    }
    const llama_grammar_element * pos = s.back();
    if (pos->type == LLAMA_GRETYPE_CHAR_ANY) {
        return true;
    }
    const bool   is_not   = pos->type == LLAMA_GRETYPE_CHAR_NOT;
    bool         is_found = false;
    const auto * end      = after_terminal(pos);
    while (pos != end && !is_found) {
        const bool is_range = pos[1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
        is_found = is_range ? pos->value <= character && character <= pos[1].value : pos->value == character;
        pos += is_range ? 2 : 1;
    }
    return is_found != is_not;
}

}  // namespace

namespace lb {

void grammar_walk::spend(double n) {
    credit_ -= n;
    if (credit_ < 0) {
        throw failure(LB_GRAMMAR_TOO_COSTLY,
                      "the grammar is too ambiguous: finding the tokens it allows here exceeds the work limit");
    }
}

void grammar_walk::earn() { credit_ = std::min(credit_ + PER_TOKEN, MAX_CREDIT); }

size_t grammar_walk::node::interval_of(uint32_t character) const {
    return static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), character) - begins.begin()) - 1;
}

grammar_walk::state grammar_walk::begin(llama_grammar_stacks stacks) {
    if (states_.size() > MAX_STATES || n_kept_ > MAX_KEPT) {
        ids_.clear();
        states_.clear();
        n_kept_ = 0;
    }
    return id_of(std::move(stacks));
}

grammar_walk::state grammar_walk::id_of(llama_grammar_stacks stacks) {
    std::sort(stacks.begin(), stacks.end());
    const auto known = ids_.find(stacks);
    if (known != ids_.end()) {
        return known->second;
    }
    auto made         = make_node(stacks);
    const auto [it, _] = ids_.emplace(std::move(stacks), static_cast<state>(states_.size()));
    made.stacks       = &it->first;
    states_.push_back(std::move(made));
    return it->second;
}

// Splits the characters into intervals at both ends of every range of every stack. Intervals that no stack accepts are DEAD.
grammar_walk::node grammar_walk::make_node(const llama_grammar_stacks & stacks) {
    std::vector<std::pair<uint32_t, int>> edges{ { 0, 0 } };
    double                                n_elements = 0;
    for (const auto & s : stacks) {
        n_elements += static_cast<double>(s.size()) + n_elements_of(s);
    }
    spend(4 * n_elements + ALLOCATION);
    for (const auto & s : stacks) {
        for_each_range(s, [&edges](range r) {
            edges.emplace_back(r.first, 1);
            edges.emplace_back(r.last + 1, -1);
        });
    }
    spend(SORTING * static_cast<double>(edges.size()));
    std::sort(edges.begin(), edges.end());
    node result{ nullptr, {}, {} };
    int  n_takers = 0;
    for (size_t i = 0; i < edges.size(); i++) {
        n_takers += edges[i].second;
        if (i + 1 == edges.size() || edges[i + 1].first != edges[i].first) {
            result.begins.push_back(edges[i].first);
            result.targets.push_back(n_takers > 0 ? UNKNOWN : DEAD);
        }
    }
    n_kept_ += n_elements + static_cast<double>(edges.size());
    return result;
}

grammar_walk::state grammar_walk::next(state from, uint32_t character) {
    const size_t interval = states_[from].interval_of(character);
    if (states_[from].targets[interval] == UNKNOWN) {
        const state found                = find_next(from, character);
        states_[from].targets[interval] = found;
    }
    return states_[from].targets[interval];
}

grammar_walk::state grammar_walk::find_next(state from, uint32_t character) {
    std::vector<const stack *> takers;
    for (const auto & s : stacks_of(from)) {
        spend(n_elements_of(s));
        if (takes(s, character)) {
            takers.push_back(&s);
        }
    }
    auto stacks = after(takers);
    return stacks.empty() || stacks.size() > MAX_STACKS ? DEAD : id_of(std::move(stacks));
}

// As llama_grammar_advance_stack, for all stacks at once: it enters rules until each stack has a terminal on top.
llama_grammar_stacks grammar_walk::after(const std::vector<const stack *> & stacks) {
    llama_grammar_stacks result;
    std::set<stack>      seen;
    std::vector<stack>   todo;
    for (const auto * before : stacks) {
        todo.emplace_back(before->begin(), before->end() - 1);
        const auto * pos = after_terminal(before->back());
        if (!is_end(pos)) {
            todo.back().push_back(pos);
        }
        while (!todo.empty() && result.size() <= MAX_STACKS) {
            spend(static_cast<double>(todo.back().size()) + ALLOCATION);
            const auto [it, is_new] = seen.insert(std::move(todo.back()));
            todo.pop_back();
            if (!is_new) {
                continue;
            }
            if (it->empty() || it->back()->type != LLAMA_GRETYPE_RULE_REF) {
                result.push_back(*it);
                continue;
            }
            const auto * reference = it->back();
            const auto * element   = rules_[reference->value].data();
            while (true) {
                todo.emplace_back(it->begin(), it->end() - 1);
                if (!is_end(reference + 1)) {
                    todo.back().push_back(reference + 1);
                }
                if (!is_end(element)) {
                    todo.back().push_back(element);
                }
                spend(static_cast<double>(it->size()) + ALLOCATION);
                while (!is_end(element)) {
                    spend(1);
                    element++;
                }
                if (element->type == LLAMA_GRETYPE_END) {
                    break;
                }
                element++;
            }
        }
    }
    return result;
}

bool grammar_walk::takes_tail(state s, llama_partial_utf8 tail) const {
    // As llama_grammar_match_partial_char: a character that fits one byte is not encoded in two.
    if (tail.n_remain < 0 || (tail.n_remain == 1 && tail.value < 2)) {
        return false;
    }
    uint32_t       first = tail.value << (tail.n_remain * 6);
    const uint32_t last  = first | ((1U << (tail.n_remain * 6)) - 1);
    if (first == 0) {
        first = tail.n_remain == 2 ? 1U << 11 : tail.n_remain == 3 ? 1U << 16 : 0;
    }
    const auto & node = states_[s];
    for (size_t i = node.interval_of(first); i < node.begins.size() && node.begins[i] <= last; i++) {
        if (node.targets[i] != DEAD) {
            return true;
        }
    }
    return false;
}

grammar_walk::state grammar_walk::follow(state from, const token_text & text) {
    for (size_t i = 0; i < text.characters.size() && from != DEAD; i++) {
        from = next(from, text.characters[i]);
    }
    const bool has_tail = text.tail.n_remain != 0;
    return from == DEAD || (has_tail && !takes_tail(from, text.tail)) ? DEAD : from;
}

// The entries are sorted, so an entry begins like the one before it: `path` holds the states along that one's characters,
// up to the first DEAD.
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
