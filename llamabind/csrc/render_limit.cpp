// Limits of a rendering. llama.cpp's Jinja has none, so the parsed templates get nodes that check them.

#include "render_limit.h"

#include "chat.h"
#include "chat_templates_struct.h"  // made from chat.cpp by the build
#include "jinja/runtime.h"

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

void check() {
    if (current == nullptr) {
        return;
    }
    if (is_set(current->stop)) {
        throw stopped{ "the request was cancelled while its chat template was rendered" };
    }
    if (clock::now() > current->deadline) {
        char seconds[32];
        std::snprintf(seconds, sizeof(seconds), "%g", current->seconds);
        throw stopped{ std::string("the chat template did not finish within ") + seconds + " s" };
    }
}

// A statement without output.
struct check_statement : public jinja::statement {
    std::string type() const override { return "Check"; }

    jinja::value execute_impl(jinja::context &) const override {
        check();
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
        check();
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

void add_to(jinja::statements & body);

void begin_with_check(jinja::statements & body) {
    add_to(body);
    auto node = std::make_unique<check_statement>();
    node->pos = body.empty() ? 0 : body.front()->pos;
    body.insert(body.begin(), std::move(node));
}

void add_to(jinja::statements & body) {
    for (auto & one : body) {
        if (auto * loop = jinja::cast_stmt<jinja::for_statement>(one)) {
            check_items(*loop);
            begin_with_check(loop->body);
            add_to(loop->default_block);
        } else if (auto * macro = jinja::cast_stmt<jinja::macro_statement>(one)) {
            begin_with_check(macro->body);
        } else if (auto * call = jinja::cast_stmt<jinja::call_statement>(one)) {
            begin_with_check(call->body);
        } else if (auto * branch = jinja::cast_stmt<jinja::if_statement>(one)) {
            add_to(branch->body);
            add_to(branch->alternate);
        } else if (auto * set = jinja::cast_stmt<jinja::set_statement>(one)) {
            add_to(set->body);
        } else if (auto * filter = jinja::cast_stmt<jinja::filter_statement>(one)) {
            add_to(filter->body);
        }
    }
}

}  // namespace

namespace lb {

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
