// From a request's JSON to llama.cpp's rendering inputs.

#pragma once

#include "internal.h"

#include "chat.h"

namespace lb {

struct chat_request {
    common_chat_templates_inputs inputs;
    std::string                  user_grammar;  // llama.cpp's Jinja path drops it, so we carry it ourselves
    std::vector<common_chat_tool> shown_tools;  // what the model is to read in place of inputs.tools; empty: those
};

// LB_INVALID for whatever is malformed, naming the field and, in messages and tools, the index.
chat_request read_chat_request(const json & request, const common_chat_templates * templates);

// chat_tools.cpp: where the template does not show the tools that may be called, the first system message tells them.
void tell_tools(chat_request & request, bool are_shown);

// chat_tools.cpp: the prompt with shown_tools in place of the tools that the grammar is made of, where llama.cpp makes
// it of the template alone; else the prompt stays as it is.
void show_tools(const common_chat_templates * templates, const chat_request & request, common_chat_params & params);

// schema.cpp: LB_INVALID for a schema that llama.cpp cannot convert or would choke on; the grammar otherwise.
std::string schema_to_grammar(const json & schema, const std::string & what);

}  // namespace lb
