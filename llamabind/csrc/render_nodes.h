// The nodes of a parsed chat template.

#pragma once

#include "jinja/runtime.h"

#include <functional>

namespace lb {

// Calls fn for each expression that `node` contains directly, not for the statements of its bodies. fn may replace it.
void each_expression(jinja::statement & node, const std::function<void(jinja::statement_ptr &)> & fn);

// Calls fn for each body of a statement: those of loops, branches, macros, calls, assignments and filters.
void each_body(jinja::statement & node, const std::function<void(jinja::statements &)> & fn);

}  // namespace lb
