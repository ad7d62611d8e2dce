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

struct limits {
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

// A statement without output.
struct check_statement : public jinja::statement {
    std::string type() const override { return "Check"; }

    jinja::value execute_impl(jinja::context &) const override {
        lb::check_time();
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

// An expression whose value is written to the prompt. llama.cpp writes all items of a list, and of the lists in it.
struct checked_output : public jinja::expression {
    jinja::statement_ptr written;

    explicit checked_output(jinja::statement_ptr && written) : written(std::move(written)) {}

    std::string type() const override { return "CheckedOutput"; }

    jinja::value execute_impl(jinja::context & ctx) const override {
        auto value = written->execute(ctx);
        if (current != nullptr) {
            lb::check_values(value);
        }
        return value;
    }
};

void add_to_expression(jinja::statement_ptr & one) {
    lb::each_expression(*one, add_to_expression);
    if (auto * binary = jinja::cast_stmt<jinja::binary_expression>(one)) {
        const auto pos = one->pos;
        one = std::make_unique<checked_operation>(binary->op, std::move(binary->left), std::move(binary->right));
        one->pos = pos;
    }
}

void add_to(jinja::statements & body) {
    for (auto & one : body) {
        add_to_expression(one);
        if (jinja::is_stmt<jinja::expression>(one)) {
            const auto pos = one->pos;
            one            = std::make_unique<checked_output>(std::move(one));
            one->pos       = pos;
            continue;
        }
        if (auto * loop = jinja::cast_stmt<jinja::for_statement>(one)) {
            check_items(*loop);
        }
        lb::each_body(*one, [&](jinja::statements & inner) {
            if (inner.empty()) {
                return;
            }
            add_to(inner);
            auto node = std::make_unique<check_statement>();
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

void add_checks(common_chat_templates * templates) {
    for (auto * one : { templates->template_default.get(), templates->template_tool_use.get() }) {
        if (one != nullptr) {
            add_to(one->prog.body);
        }
    }
}

render_limit::render_limit(double max_seconds, const int32_t * stop) {
    auto * added = new limits;
    added->stop  = stop;
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
