// Reads a template's source with llama.cpp's lexer, and counts how deep llama.cpp's parser will recurse.

#include "template_limits.h"

#include "internal.h"
#include "jinja/caps.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "render_limit.h"

#include <cstring>
#include <string_view>
#include <vector>

using jinja::token;

namespace {

// The 70 files of llama.cpp's models/templates would also pass with 10 brackets, 40 blocks, a chain of 200 and 200
// assignments; the largest has 17 kB.
constexpr size_t MAX_BYTES    = 512 * 1024;
constexpr size_t MAX_BRACKETS = 100;
constexpr size_t MAX_BLOCKS   = 200;
constexpr size_t MAX_CHAIN    = 2000;
// Each call of a macro copies all variables, and calls may nest.
constexpr size_t MAX_ASSIGNMENTS = 2000;

bool is_any(const std::string & name, std::initializer_list<std::string_view> names) {
    for (const auto one : names) {
        if (name == one) {
            return true;
        }
    }
    return false;
}

// The depth of an expression: `a.b|c + not d` is parsed into nodes within nodes, one or more for each token. Items that
// commas separate are beside each other.
class expression_depth {
    std::vector<size_t> chains  = { 0 };  // tokens since the last comma, of each open bracket
    size_t              n_total = 0;

    void start_item() {
        n_total -= chains.back();
        chains.back() = 0;
    }

  public:
    bool is_outside_of_brackets() const { return chains.size() == 1; }

    void add(token::type type) {
        switch (type) {
            case token::open_paren:
            case token::open_square_bracket:
            case token::open_curly_bracket:
                chains.push_back(0);
                if (chains.size() > MAX_BRACKETS + 1) {
                    lb::invalid("chat template: brackets nested deeper than " + std::to_string(MAX_BRACKETS) + " levels");
                }
                break;
            case token::close_paren:
            case token::close_square_bracket:
            case token::close_curly_bracket:
                if (chains.size() > 1) {
                    start_item();
                    chains.pop_back();
                }
                break;
            case token::comma:
            case token::colon:
                start_item();
                return;
            default:
                break;
        }
        // A closed bracket is part of a chain, too: `a()()()`.
        chains.back()++;
        if (++n_total > MAX_CHAIN) {
            lb::invalid("chat template: an expression of more than " + std::to_string(MAX_CHAIN) + " operators and operands");
        }
    }
};

// The depth of statements. Each `elif` is a branch within the one before it.
class block_depth {
    std::vector<size_t> blocks;
    size_t              n_total = 0;

    void add() {
        if (++n_total > MAX_BLOCKS) {
            lb::invalid("chat template: blocks and branches nested deeper than " + std::to_string(MAX_BLOCKS) + " levels");
        }
    }

  public:
    void open() {
        add();
        blocks.push_back(1);
    }

    void branch() {
        add();
        if (!blocks.empty()) {
            blocks.back()++;
        }
    }

    void close() {
        if (!blocks.empty()) {
            n_total -= blocks.back();
            blocks.pop_back();
        }
    }
};

void check_depth(const std::vector<token> & tokens) {
    expression_depth expression;
    block_depth      blocks;
    size_t           n_assignments = 0;
    bool             is_set = false;  // inside of `{% set`, which opens a block unless it has a value
    for (size_t i = 0; i < tokens.size(); i++) {
        const auto type = tokens[i].t;
        if (type == token::open_expression) {
            expression = {};
        } else if (type == token::open_statement) {
            expression         = {};
            const auto & after = tokens[std::min(i + 1, tokens.size() - 1)];
            const auto & name  = after.t == token::identifier ? after.value : std::string();
            is_set             = name == "set";
            if (is_any(name, { "set", "for", "macro" }) && ++n_assignments > MAX_ASSIGNMENTS) {
                lb::invalid("chat template: more than " + std::to_string(MAX_ASSIGNMENTS) + " assignments, loops and macros");
            }
            if (is_any(name, { "if", "for", "macro", "call", "filter" })) {
                blocks.open();
            } else if (name == "elif") {
                blocks.branch();
            } else if (is_any(name, { "endif", "endfor", "endmacro", "endcall", "endfilter", "endset" })) {
                blocks.close();
            }
        } else if (type == token::close_statement) {
            if (is_set) {
                blocks.open();
            }
            is_set = false;
        } else if (type == token::equals && expression.is_outside_of_brackets()) {
            is_set = false;
        } else {
            expression.add(type);
        }
    }
}

}  // namespace

namespace lb {

void check_template(const char * source) {
    if (source == nullptr) {
        return;
    }
    if (std::strlen(source) > MAX_BYTES) {
        invalid("chat template: larger than " + std::to_string(MAX_BYTES / 1024) + " KiB");
    }
    jinja::lexer_result found;
    try {
        found = jinja::lexer().tokenize(source);
    } catch (const jinja::lexer_exception &) {
        return;
    }
    check_depth(found.tokens);
}

void try_template(const char * source) {
    if (source == nullptr) {
        return;
    }
    jinja::program parsed;
    try {
        parsed = jinja::parse_from_tokens(jinja::lexer().tokenize(source));
    } catch (const std::exception &) {
        return;
    }
    run_stoppable([&] {
        add_checks(parsed.body);
        jinja::caps_get(parsed);
    });
}

}  // namespace lb
