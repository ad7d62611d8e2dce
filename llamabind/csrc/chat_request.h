// Converts a request's JSON to llama.cpp's inputs for rendering.

#pragma once

#include "internal.h"

#include "chat.h"

namespace lb {

struct chat_request {
    common_chat_templates_inputs  inputs;
    std::string                   user_grammar;  // not in `inputs`: llama.cpp's Jinja path would drop it
    std::vector<common_chat_tool> shown_tools;   // the prompt shows these instead of inputs.tools; empty: inputs.tools
};

// LB_INVALID for a malformed request; the message names the field and, in messages and tools, the index.
chat_request read_chat_request(const json & request, const common_chat_templates * templates);

// Adds the message or tool to errors of the shared readers, which name only the member.
template <typename F> auto inside(const std::string & where, F && fn) -> decltype(fn()) {
    try {
        return fn();
    } catch (const failure & e) {
        if (e.message.compare(0, where.size(), where) == 0) {
            throw;
        }
        throw failure(e.status, where + "." + e.message);
    }
}

// chat_messages.cpp: reads `messages` with llama-server's checks. LB_INVALID for malformed ones.
void read_messages(const json & request, common_chat_templates_inputs & inputs);

// chat_tools.cpp: adds the tools to the first system message if the template does not show them (`are_shown`).
void add_tools_to_system_message(chat_request & request, bool are_shown);

// chat_tools.cpp: replaces inputs.tools by shown_tools in the prompt. The prompt is unchanged if llama.cpp's format adds
// text of its own to the template's.
void show_tools(const common_chat_templates * templates, const chat_request & request, common_chat_params & params);

// schema.cpp: the schema's grammar. LB_INVALID for a schema that llama.cpp cannot convert, or cannot convert safely.
std::string schema_to_grammar(const json & schema, const std::string & what);

}  // namespace lb
