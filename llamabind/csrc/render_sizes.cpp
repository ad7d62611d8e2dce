// Estimates the size of a value before llama.cpp's Jinja makes it, from the arguments of the operation.

#include "render_sizes.h"

#include "render_limit.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

using jinja::func_args;
using jinja::is_val;
using jinja::value;
using jinja::value_array;
using jinja::value_int;
using jinja::value_object;
using jinja::value_string;

namespace {

constexpr size_t  MAX_ITEMS  = size_t(1) << 20;
constexpr size_t  MAX_BYTES  = 64 * lb::MiB;
constexpr size_t  MAX_DEPTH  = 256;
constexpr int64_t MAX_INDENT = 256;
// Bytes that one call may move in memory, some seconds' worth: `replace` and `split` move the rest of a text for each match.
constexpr double MAX_MOVED = 3e10;

void check_bytes(double n_bytes) {
    if (n_bytes > static_cast<double>(MAX_BYTES)) {
        lb::stop_rendering("the chat template makes a text of more than " + std::to_string(MAX_BYTES / lb::MiB) + " MiB");
    }
}

void check_items(double n_items) {
    if (n_items > static_cast<double>(MAX_ITEMS)) {
        lb::stop_rendering("the chat template makes a list of more than " + std::to_string(MAX_ITEMS) + " items");
    }
}

void check_moved(double n_bytes) {
    if (n_bytes > MAX_MOVED) {
        lb::stop_rendering("the chat template replaces or splits too many parts of a long text");
    }
}

using lb::text_bytes;

double n_items(const value & one) {
    return static_cast<double>(one->val_arr.size() + one->val_obj.size());
}

// A text of the result may be so large; it is made next.
void make_text(double n_bytes) {
    check_bytes(n_bytes);
    lb::add_made(std::max(n_bytes, 0.0));
}

void make_items(double n_made) {
    check_items(n_made);
    lb::add_made(std::max(n_made, 0.0) * lb::VALUE_BYTES);
}

double n_matches(const std::string & text, const std::string & part) {
    double n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
        n++;
    }
    return n;
}

void check_range(const func_args & args) {
    int64_t      numbers[3] = { 0, 0, 1 };  // start, stop, step
    const size_t n          = std::min<size_t>(args.count(), 3);
    for (size_t i = 0; i < n; i++) {
        if (!is_val<value_int>(args.get_pos(i))) {
            return;  // an error of llama.cpp's
        }
        numbers[n == 1 ? 1 : i] = args.get_pos(i)->as_int();
    }
    const auto step = static_cast<double>(numbers[2]);
    const auto last = static_cast<double>(numbers[1]);
    if (step != 0) {
        make_items((last - static_cast<double>(numbers[0])) / step);
        // The last sum must not overflow: it would be less than the end again.
        check_items(std::abs(last) + std::abs(step) < 9e18 ? 0 : 1e19);
    }
}

void check_replace(const func_args & args) {
    if (args.count() < 3) {
        return;
    }
    const double n = text_bytes(args.get_pos(0)), n_old = text_bytes(args.get_pos(1)), n_new = text_bytes(args.get_pos(2));
    if (!is_val<value_string>(args.get_pos(0)) || !is_val<value_string>(args.get_pos(1))) {
        return;
    }
    const double times =
        n_old == 0 ? n + 1 : n_matches(args.get_pos(0)->val_str.str(), args.get_pos(1)->val_str.str());
    make_text(n + times * (n_new - n_old));
    check_moved(n_old == 0 || n_old == n_new ? 0 : times * std::max(n, n + times * (n_new - n_old)) / 2);
}

void check_split(const func_args & args) {
    const std::string delimiter =
        args.count() > 1 && is_val<value_string>(args.get_pos(1)) ? args.get_pos(1)->val_str.str() : " ";
    if (delimiter.empty() || !is_val<value_string>(args.get_pos(0))) {
        return;
    }
    const double times = n_matches(args.get_pos(0)->val_str.str(), delimiter);
    make_items(times);
    lb::add_made(text_bytes(args.get_pos(0)));
    check_moved(args.func_name == "rsplit" ? 0 : times * text_bytes(args.get_pos(0)) / 2);
}

void check_indent(const func_args & args) {
    const auto   width = args.get_kwarg_or_pos("width", 1);
    const double each  = is_val<value_int>(width) ? static_cast<double>(width->as_int()) : text_bytes(width);
    const double lines = is_val<value_string>(args.get_pos(0)) ? n_matches(args.get_pos(0)->val_str.str(), "\n") : 0;
    make_text(text_bytes(args.get_pos(0)) + each * (lines + 1));
}

void check_join(const func_args & args) {
    const auto & list = args.get_pos(0);
    if (!is_val<value_array>(list)) {
        return;
    }
    double n = text_bytes(args.get_kwarg_or_pos("d", 1)) * static_cast<double>(list->as_array().size());
    for (const auto & one : list->as_array()) {
        n += text_bytes(one);
    }
    make_text(n);
}

void check_text(const func_args & args) {
    lb::add_made(lb::check_values(args.get_pos(0)) + lb::text_memory(args.get_pos(0)));
}

void check_json(const func_args & args) {
    check_text(args);
    const auto indent = args.get_kwarg_or_pos("indent", 2);
    if (is_val<value_int>(indent) && indent->as_int() > MAX_INDENT) {
        lb::stop_rendering("the chat template indents JSON by more than " + std::to_string(MAX_INDENT) + " spaces");
    }
    const auto separators = args.get_kwarg_or_pos("separators", 3);
    if (is_val<value_array>(separators)) {
        for (const auto & one : separators->as_array()) {
            check_bytes(text_bytes(one) * 1024);
        }
    }
}

void check_list(const func_args & args) {
    if (is_val<value_array>(args.get_pos(0))) {
        check_items(static_cast<double>(args.get_pos(0)->as_array().size()));
    }
}

void check_append(const func_args & args) {
    check_list(args);
    lb::add_made(lb::VALUE_BYTES);
    if (args.count() > 1) {
        lb::check_values(args.get_pos(1));
    }
}

// The result has the size of the first argument, or is smaller.
void check_copy(const func_args & args) {
    lb::add_made(lb::text_memory(args.get_pos(0)) + n_items(args.get_pos(0)) * sizeof(value));
}

// The result is a list of pairs or of texts.
void check_pairs(const func_args & args) {
    lb::add_made(n_items(args.get_pos(0)) * lb::VALUE_BYTES);
}

void check_arguments(const func_args & args) {
    for (const auto & arg : args.get_args()) {
        const auto & one = is_val<jinja::value_kwarg>(arg) ? jinja::cast_val<jinja::value_kwarg>(arg)->val : arg;
        lb::add_made(lb::text_memory(one) + lb::VALUE_BYTES);
        lb::check_values(one);
    }
}

using check_function = void (*)(const func_args &);

const std::map<std::string, check_function> CHECKS = {
    { "range",      check_range     },
    { "replace",    check_replace   },
    { "split",      check_split     },
    { "rsplit",     check_split     },
    { "indent",     check_indent    },
    { "join",       check_join      },
    { "string",     check_text      },
    { "safe",       check_text      },
    { "tojson",     check_json      },
    { "sort",       check_list      },
    { "append",     check_append    },
    { "format",     check_arguments },
    { "namespace",  check_arguments },
    { "dict",       check_arguments },
    { "items",      check_pairs     },
    { "dictsort",   check_pairs     },
    { "keys",       check_copy      },
    { "values",     check_copy      },
    { "list",       check_copy      },
    { "map",        check_copy      },
    { "reverse",    check_copy      },
    { "select",     check_copy      },
    { "selectattr", check_copy      },
    { "reject",     check_copy      },
    { "rejectattr", check_copy      },
    { "slice",      check_copy      },
    { "upper",      check_copy      },
    { "lower",      check_copy      },
    { "strip",      check_copy      },
    { "lstrip",     check_copy      },
    { "rstrip",     check_copy      },
    { "title",      check_copy      },
    { "capitalize", check_copy      },
};

// A function that calls `check` before `original`. Small enough for std::function to copy without allocating: llama.cpp
// copies all functions of a type for each call.
struct checked_function {
    const jinja::func_handler * original;
    check_function              check;

    value operator()(const func_args & args) const {
        if (lb::is_rendering()) {
            lb::check_time();
            if (args.count() > 0) {
                check(args);
            }
        }
        return (*original)(args);
    }
};

void limit(const jinja::func_builtins & functions) {
    for (auto & [name, function] : functions) {
        const auto found = CHECKS.find(name);
        if (found != CHECKS.end()) {
            // NOTE: the table is declared const, but the nodes of a std::map are not, so changing one is defined. llama.cpp
            // finds functions in these tables only: a variable of the context can hide a global function, but no filter
            // and no method. The original is never freed, as the table.
            const_cast<jinja::func_handler &>(function) =
                checked_function{ new jinja::func_handler(function), found->second };
        }
    }
}

}  // namespace

namespace lb {

void limit_functions() {
    static std::once_flag once;
    std::call_once(once, [] {
        limit(jinja::global_builtins());
        limit(jinja::mk_val<value_string>()->get_builtins());
        limit(jinja::mk_val<value_array>()->get_builtins());
        limit(jinja::mk_val<value_object>()->get_builtins());
    });
}

void check_operation(const std::string & op, const value & left, const value & right) {
    if (op == "*") {
        const bool is_repeat = is_val<value_string>(left) != is_val<value_string>(right);
        if (is_repeat && (is_val<value_int>(left) || is_val<value_int>(right))) {
            const auto & number = is_val<value_int>(left) ? left : right;
            const auto   times  = static_cast<double>(number->as_int());
            check_bytes(std::max(text_bytes(left) + text_bytes(right), 1.0) * times);
            add_made((text_memory(left) + text_memory(right)) * std::max(times, 0.0));
        }
    } else if (op == "+" || op == "~") {
        check_bytes(text_bytes(left) + text_bytes(right));
        add_made(text_memory(left) + text_memory(right));
        if (is_val<value_array>(left) && is_val<value_array>(right)) {
            check_items(n_items(left) + n_items(right));
            add_made((n_items(left) + n_items(right)) * sizeof(value));
        } else {
            check_values(left);
            check_values(right);
        }
    } else {
        check_values(left);
        check_values(right);
    }
}

double text_bytes(const value & one) {
    return is_val<value_string>(one) ? static_cast<double>(one->val_str.length()) : 0;
}

double text_memory(const value & one) {
    return text_bytes(one) + static_cast<double>(one->val_str.parts.size() * sizeof(jinja::string_part));
}

double check_values(const value & one) {
    if (!is_val<value_array>(one) && !is_val<value_object>(one)) {
        return 0;
    }
    struct item {
        const jinja::value_t * node;
        size_t                 depth;
    };

    size_t            n_items = 0;
    double            total   = 0;
    std::vector<item> left    = { { one.get(), 0 } };
    while (!left.empty()) {
        const item now = left.back();
        left.pop_back();
        if (now.depth > MAX_DEPTH) {
            stop_rendering("the chat template nests lists deeper than " + std::to_string(MAX_DEPTH) + " levels");
        }
        const auto & array  = now.node->val_arr;
        const auto & object = now.node->val_obj;
        check_items(static_cast<double>(n_items += array.size() + object.size()));
        for (const auto & value : array) {
            total += text_bytes(value);
            left.push_back({ value.get(), now.depth + 1 });
        }
        for (const auto & [key, value] : object) {
            total += text_bytes(key) + text_bytes(value);
            left.push_back({ value.get(), now.depth + 1 });
        }
    }
    check_bytes(total);
    return total;
}

}  // namespace lb
