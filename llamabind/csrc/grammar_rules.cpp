// Checks on parsed rules that llama.cpp lacks, and limits on the size of its automaton.
//
// llama.cpp enters all alternatives of a rule at once and keeps a stack for each. It refuses left recursion, but only
// through rules that are directly empty: "root ::= a root "x" | "y"; a ::= b; b ::= "c" | """ makes it push stacks
// without end. Rules that can never end ("a ::= "x" a") leave no stack, which fails an assertion. Rules that branch
// on every level double the number of stacks with each level.

#include "grammar_source.h"

#include <algorithm>
#include <cstdint>

namespace {

using rule = llama_grammar_rule;

struct edge {
    uint32_t target;
    bool     has_rest;  // elements of the alternative after the reference stay on the stack
};

bool is_end(const llama_grammar_element & e) { return e.type == LLAMA_GRETYPE_END || e.type == LLAMA_GRETYPE_ALT; }

// Marks the rules with an alternative that consists only of marked rules (and of terminals, if with_terminals): the rules
// that may be empty, or those that can end. Linear time: an alternative waits for the rules it refers to, and a newly
// marked rule releases the alternatives that wait for it.
std::vector<char> derive(const llama_grammar_rules & rules, bool with_terminals) {
    struct alternative {
        uint32_t owner;
        size_t   n_missing;
    };
    std::vector<alternative>         alternatives;
    std::vector<std::vector<size_t>> waiting(rules.size());
    std::vector<char>                found(rules.size(), 0);
    std::vector<uint32_t>            fresh;
    const auto                       add = [&](uint32_t id) {
        if (!found[id]) {
            found[id] = 1;
            fresh.push_back(id);
        }
    };
    for (uint32_t id = 0; id < rules.size(); id++) {
        size_t n_missing = 0;
        bool   is_open   = true;
        for (const auto & e : rules[id]) {
            if (is_end(e)) {
                if (is_open && n_missing == 0) {
                    add(id);
                }
                alternatives.push_back({ id, is_open ? n_missing : SIZE_MAX });
                n_missing = 0;
                is_open   = true;
            } else if (e.type == LLAMA_GRETYPE_RULE_REF) {
                waiting[e.value].push_back(alternatives.size());
                n_missing++;
            } else {
                is_open = is_open && with_terminals;
            }
        }
    }
    while (!fresh.empty()) {
        const uint32_t id = fresh.back();
        fresh.pop_back();
        for (const size_t i : waiting[id]) {
            if (alternatives[i].n_missing != SIZE_MAX && --alternatives[i].n_missing == 0) {
                add(alternatives[i].owner);
            }
        }
    }
    return found;
}

// The rules that entering a rule enters as well before a character is read, and the number of stacks that it adds itself.
struct left_side {
    std::vector<edge> edges;
    double            n_own = 0;
};

left_side left_side_of(const rule & r, const std::vector<char> & is_nullable) {
    left_side result;
    bool      is_leading = true;
    for (size_t i = 0; i < r.size(); i++) {
        if (is_end(r[i])) {
            result.n_own += is_leading ? 1 : 0;  // the alternative may be empty, so the stack below it continues
            is_leading = true;
        } else if (is_leading && r[i].type == LLAMA_GRETYPE_RULE_REF) {
            result.edges.push_back({ r[i].value, !is_end(r[i + 1]) });
            is_leading = is_nullable[r[i].value] != 0;
        } else if (is_leading) {
            result.n_own += 1;
            is_leading = false;
        }
    }
    return result;
}

// Tarjan's strongly connected components of the left sides, without recursion. A component is complete after all
// components that it leads to, so its stacks can be counted then.
class left_graph {
  public:
    left_graph(const llama_grammar_rules & rules, const std::vector<char> & is_nullable) {
        for (const auto & r : rules) {
            sides_.push_back(left_side_of(r, is_nullable));
        }
        const size_t n = rules.size();
        index_.assign(n, 0);
        low_.assign(n, 0);
        component_.assign(n, 0);
        n_starts_.assign(n, 0);
    }

    // The id of a rule that is left recursive or branches too much, with the reason; the number of rules if all are fine.
    std::pair<size_t, const char *> find_fault() {
        for (uint32_t id = 0; id < sides_.size(); id++) {
            if (index_[id] == 0) {
                visit(id);
            }
        }
        for (size_t id = 0; id < sides_.size(); id++) {
            for (const auto & e : sides_[id].edges) {
                if (component_[id] == component_[e.target] && e.has_rest) {
                    return { id, "is left recursive" };
                }
            }
            if (n_starts_[id] > static_cast<double>(lb::MAX_STACKS)) {
                return { id, "can begin in more than 10,000 ways" };
            }
        }
        return { sides_.size(), "" };
    }

  private:
    struct frame {
        uint32_t id;
        size_t   next_edge;
    };

    std::vector<left_side> sides_;
    std::vector<uint32_t>  index_, low_, component_;
    std::vector<double>    n_starts_;
    std::vector<uint32_t>  open_;
    std::vector<frame>     path_;
    uint32_t               n_visited_    = 0;
    uint32_t               n_components_ = 0;

    void enter(uint32_t id) {
        index_[id] = low_[id] = ++n_visited_;
        open_.push_back(id);
        path_.push_back({ id, 0 });
    }

    void visit(uint32_t root) {
        enter(root);
        while (!path_.empty()) {
            const uint32_t id    = path_.back().id;
            const auto &   edges = sides_[id].edges;
            if (path_.back().next_edge < edges.size()) {
                const uint32_t target = edges[path_.back().next_edge++].target;
                if (index_[target] == 0) {
                    enter(target);
                } else if (component_[target] == 0) {
                    low_[id] = std::min(low_[id], index_[target]);
                }
                continue;
            }
            path_.pop_back();
            if (!path_.empty()) {
                low_[path_.back().id] = std::min(low_[path_.back().id], low_[id]);
            }
            if (low_[id] == index_[id]) {
                close(id);
            }
        }
    }

    void close(uint32_t root) {
        const auto first = std::find(open_.rbegin(), open_.rend(), root).base() - 1;
        n_components_++;
        for (auto it = first; it != open_.end(); ++it) {
            component_[*it] = n_components_;
        }
        double n_starts = 0;
        for (auto it = first; it != open_.end(); ++it) {
            n_starts += sides_[*it].n_own;
            for (const auto & e : sides_[*it].edges) {
                n_starts += component_[e.target] == n_components_ ? 0 : n_starts_[e.target];
            }
        }
        for (auto it = first; it != open_.end(); ++it) {
            n_starts_[*it] = n_starts;
        }
        open_.erase(first, open_.end());
    }
};

std::string name_of(const llama_grammar_parser & parser, size_t id) {
    for (const auto & [name, symbol] : parser.symbol_ids) {
        if (symbol == id) {
            return "\"" + lb::shorten(name, 80) + "\"";
        }
    }
    return std::to_string(id);
}

void check_references(const llama_grammar_parser & parser) {
    for (const auto & [name, id] : parser.symbol_ids) {
        if (id >= parser.rules.size() || parser.rules[id].empty()) {
            lb::invalid("grammar: rule \"" + lb::shorten(name, 80) + "\" is used but not defined");
        }
    }
}

}  // namespace

namespace lb {

void check_grammar_rules(const llama_grammar_parser & parser) {
    check_references(parser);
    const auto & rules  = parser.rules;
    const auto   ending = derive(rules, true);
    const auto   stuck  = std::find(ending.begin(), ending.end(), 0);
    if (stuck != ending.end()) {
        invalid("grammar: rule " + name_of(parser, stuck - ending.begin()) + " can never end");
    }
    const auto [fault, reason] = left_graph(rules, derive(rules, false)).find_fault();
    if (fault < rules.size()) {
        invalid("grammar: rule " + name_of(parser, fault) + " " + reason);
    }
}

}  // namespace lb
