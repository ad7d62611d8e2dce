// From a request's JSON to llama.cpp's rendering inputs.

#pragma once

#include "internal.h"

#include "chat.h"

namespace lb {

struct chat_request {
    common_chat_templates_inputs inputs;
    std::string                  user_grammar;  // llama.cpp's Jinja path drops it, so we carry it ourselves
};

// LB_INVALID for whatever is malformed, naming the field and, in messages and tools, the index.
chat_request read_chat_request(const json & request, const common_chat_templates * templates);

// chat_tools.cpp: where the template does not show the tools that may be called, the first system message tells them.
void tell_tools(common_chat_templates_inputs & inputs, bool are_shown);

// schema.cpp: LB_INVALID for a schema that llama.cpp cannot convert or would choke on; the grammar otherwise.
std::string schema_to_grammar(const json & schema, const std::string & what);

}  // namespace lb
