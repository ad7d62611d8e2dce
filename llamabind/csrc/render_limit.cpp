// Limits of a rendering. llama.cpp's Jinja has none, so the parsed templates get nodes that check them.

#include "render_limit.h"

#include "chat.h"
#include "chat_templates_struct.h"  // made from chat.cpp by the build
#include "jinja/runtime.h"
#include "render_nodes.h"
#include "render_sizes.h"

#include <atomic>
#include <chrono>

namespace {

using clock = std::chrono::steady_clock;

// The most bytes of values that one rendering may make, counted as if none were freed before its end.
constexpr double MAX_MADE = 2048.0 * lb::MiB;
// The most of its stack that a rendering may use when it starts a body. Between two checks, llama.cpp recurses only as deep
// as a source may nest (template_limits.cpp), in the rest of the stack.
constexpr size_t MAX_STACK_USED = 16 * lb::MiB;

struct limits {
    const char *      stack    = nullptr;  // about where the stack of the rendering begins
    double            n_made   = 0;
    double            seconds  = 0;
    clock::time_point deadline = clock::time_point::max();
    const int32_t *   stop     = nullptr;
};

thread_local limits * current = nullptr;

// NOTE: not a std::exception: llama.cpp's Jinja catches those, and continues in some places.
struct stopped {
    std::string why;
};

bool is_set(const int32_t * stop) {
    return stop != nullptr && reinterpret_cast<const std::atomic<int32_t> *>(stop)->load(std::memory_order_relaxed) != 0;
}

void check_stack() {
    const char here = 0;
    // A stack grows in one direction, whichever it is.
    if (current != nullptr && static_cast<size_t>(std::abs(&here - current->stack)) > MAX_STACK_USED) {
        lb::stop_rendering("the chat template calls its macros too deeply");
    }
}

// A statement without output, at the beginning of a body.
struct check_statement : public jinja::statement {
    double n_bytes;  // of the values that the literals of the body make in each pass

    explicit check_statement(double n_bytes) : n_bytes(n_bytes) {}

    std::string type() const override { return "Check"; }

    jinja::value execute_impl(jinja::context &) const override {
        lb::check_time();
        lb::add_made(n_bytes);
        check_stack();
        return jinja::mk_val<jinja::value_undefined>();
    }
};

// The condition of a loop (`for x in y if test`), true without one. The engine copies all variables for each item before
// the first pass, and executes nothing but the condition meanwhile.
struct checked_test : public jinja::expression {
    jinja::statement_ptr test;

    explicit checked_test(jinja::statement_ptr && test) : test(std::move(test)) {}

    std::string type() const override { return "CheckedTest"; }

    jinja::value execute_impl(jinja::context & ctx) const override {
        lb::check_time();
        return test ? test->execute(ctx) : jinja::mk_val<jinja::value_bool>(true);
    }
};

void check_items(jinja::for_statement & loop) {
    auto *     select = jinja::cast_stmt<jinja::select_expression>(loop.iterable);
    const auto pos    = loop.iterable->pos;
    auto       test   = std::make_unique<checked_test>(select != nullptr ? std::move(select->test) : nullptr);
    test->pos         = pos;
    if (select != nullptr) {
        select->test = std::move(test);
        return;
    }
    loop.iterable      = std::make_unique<jinja::select_expression>(std::move(loop.iterable), std::move(test));
    loop.iterable->pos = pos;
}

// A value that was computed before.
struct held_value : public jinja::expression {
    jinja::value held;

    explicit held_value(jinja::value held) : held(std::move(held)) {}

    std::string type() const override { return "HeldValue"; }

    jinja::value execute_impl(jinja::context &) const override { return held; }
};

// An operation whose operands are checked first.
struct checked_operation : public jinja::binary_expression {
    using jinja::binary_expression::binary_expression;

    jinja::value execute_impl(jinja::context & ctx) const override {
        if (current == nullptr || op.value == "and" || op.value == "or") {
            return jinja::binary_expression::execute_impl(ctx);
        }
        auto left_value  = left->execute(ctx);
        auto right_value = right->execute(ctx);
        lb::check_time();
        lb::check_operation(op.value, left_value, right_value);
        const jinja::binary_expression same(op, std::make_unique<held_value>(std::move(left_value)),
                                            std::make_unique<held_value>(std::move(right_value)));
        return same.execute_impl(ctx);
    }
};

// A list, tuple or object that is written in the template: pairs of pairs must not nest without a limit.
struct checked_literal : public jinja::expression {
    jinja::statement_ptr literal;

    explicit checked_literal(jinja::statement_ptr && literal) : literal(std::move(literal)) {}

    std::string type() const override { return "CheckedLiteral"; }

    jinja::value execute_impl(jinja::context & ctx) const override {
        auto value = literal->execute(ctx);
        if (current != nullptr) {
            lb::check_values(value);
        }
        return value;
    }
};

// An expression whose value is written to the prompt. llama.cpp writes all items of a list, and of the lists in it.
struct checked_output : public jinja::expression {
    jinja::statement_ptr written;

    explicit checked_output(jinja::statement_ptr && written) : written(std::move(written)) {}

    std::string type() const override { return "CheckedOutput"; }

    jinja::value execute_impl(jinja::context & ctx) const override {
        auto value = written->execute(ctx);
        if (current != nullptr) {
            lb::add_made(lb::check_values(value) + lb::text_memory(value) + lb::VALUE_BYTES);
        }
        return value;
    }
};

template <typename T> void wrap(jinja::statement_ptr & one) {
    const auto pos = one->pos;
    one            = std::make_unique<T>(std::move(one));
    one->pos       = pos;
}

bool is_list(const jinja::statement_ptr & one) {
    return jinja::is_stmt<jinja::array_literal>(one) || jinja::is_stmt<jinja::tuple_literal>(one) ||
           jinja::is_stmt<jinja::object_literal>(one);
}

// The bytes of the values that the literals of a statement or an expression make.
double literal_bytes(jinja::statement & node, double each) {
    const auto * text  = dynamic_cast<const jinja::string_literal *>(&node);
    double       total = each + (text != nullptr ? static_cast<double>(text->val.size()) : 0);
    lb::each_expression(node, [&](jinja::statement_ptr & child) {
        total += literal_bytes(*child, is_list(child) ? lb::VALUE_BYTES : each);
    });
    return total;
}

void add_to_expression(jinja::statement_ptr & one) {
    lb::each_expression(*one, add_to_expression);
    if (auto * set = jinja::cast_stmt<jinja::set_statement>(one)) {
        if (auto * names = jinja::cast_stmt<checked_literal>(set->assignee)) {
            set->assignee = std::move(names->literal);  // llama.cpp reads the names from the node
        }
    }
    if (is_list(one)) {
        wrap<checked_literal>(one);
    } else if (auto * binary = jinja::cast_stmt<jinja::binary_expression>(one)) {
        const auto pos = one->pos;
        one = std::make_unique<checked_operation>(binary->op, std::move(binary->left), std::move(binary->right));
        one->pos = pos;
    }
}

void add_to(jinja::statements & body) {
    for (auto & one : body) {
        add_to_expression(one);
        if (jinja::is_stmt<jinja::expression>(one)) {
            wrap<checked_output>(one);
            continue;
        }
        if (auto * loop = jinja::cast_stmt<jinja::for_statement>(one)) {
            check_items(*loop);
        }
        lb::each_body(*one, [&](jinja::statements & inner) {
            if (inner.empty()) {
                return;
            }
            double n_bytes = 0;
            for (const auto & each : inner) {
                n_bytes += literal_bytes(*each, 0);
            }
            add_to(inner);
            auto node = std::make_unique<check_statement>(n_bytes);
            node->pos = one->pos;
            inner.insert(inner.begin(), std::move(node));
        });
    }
}

}  // namespace

namespace lb {

void check_time() {
    if (current == nullptr) {
        return;
    }
    if (is_set(current->stop)) {
        stop_rendering("the request was cancelled while its chat template was rendered");
    }
    if (clock::now() > current->deadline) {
        char seconds[32];
        std::snprintf(seconds, sizeof(seconds), "%g", current->seconds);
        stop_rendering(std::string("the chat template did not finish within ") + seconds + " s");
    }
}

bool is_rendering() { return current != nullptr; }

void stop_rendering(const std::string & why) { throw stopped{ why }; }

void add_made(double n_bytes) {
    if (current != nullptr && (current->n_made += n_bytes) > MAX_MADE) {
        stop_rendering("the chat template makes values of more than " + std::to_string(size_t(MAX_MADE) / MiB) +
                       " MiB together");
    }
}

void add_checks(jinja::statements & body) { add_to(body); }

void add_checks(common_chat_templates * templates) {
    for (auto * one : { templates->template_default.get(), templates->template_tool_use.get() }) {
        if (one != nullptr) {
            add_to(one->prog.body);
        }
    }
}

render_limit::render_limit(double max_seconds, const int32_t * stop) {
    const char here = 0;
    auto *     added = new limits;
    added->stack     = &here;
    added->stop      = stop;
    if (max_seconds > 0) {
        added->seconds  = max_seconds;
        added->deadline = clock::now() + std::chrono::microseconds(static_cast<int64_t>(1e6 * std::min(max_seconds, 1e6)));
    }
    current = added;
}

render_limit::~render_limit() {
    delete current;
    current = nullptr;
}

void run_stoppable(const std::function<void()> & fn) {
    try {
        fn();
    } catch (const stopped & e) {
        throw failure(LB_STOPPED, e.why);
    }
}

}  // namespace lb
