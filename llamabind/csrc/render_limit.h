// Limits of a rendering: a template of a model file may loop for ever, for all conversations or for some.

#pragma once

#include "internal.h"
#include "jinja/runtime.h"

#include <cstdint>

struct common_chat_templates;

namespace lb {

// Adds a check to every pass of a loop, every call of a macro, every list in the source, and every operation whose result
// may be much larger than its operands (render_sizes.h).
void add_checks(common_chat_templates * templates);
void add_checks(jinja::statements & body);

// The limits of all templates that this thread renders until the object is destroyed. They throw LB_STOPPED.
class render_limit {
  public:
    // `max_seconds` 0 is no limit of time; `stop` may be NULL, and is read while templates are rendered.
    render_limit(double max_seconds, const int32_t * stop);
    ~render_limit();

    render_limit(const render_limit &)             = delete;
    render_limit & operator=(const render_limit &) = delete;
};

// Runs fn, whose checks may stop it. LB_STOPPED says why it was.
void run_stoppable(const std::function<void()> & fn);

// Ends the rendering of this thread if its time is up or its request was cancelled; does nothing outside of a rendering.
void check_time();

// About the memory of a small value.
constexpr double VALUE_BYTES = 256;

// Counts bytes of values that the rendering of this thread makes, and ends it if they are too many together. Small values
// that nothing holds are not counted.
void add_made(double n_bytes);

// Whether this thread renders a template.
bool is_rendering();

// Ends the rendering of this thread.
[[noreturn]] void stop_rendering(const std::string & why);

}  // namespace lb
