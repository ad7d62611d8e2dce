// Tools for templates that write calls but do not show what may be called: their makers put the definitions into a
// system message by hand.

#include "chat_request.h"

namespace {

std::string describe(const std::vector<common_chat_tool> & tools) {
    std::string text = "## Tools\n\nYou have access to the following tools:\n";
    for (const auto & tool : tools) {
        text += "\n### " + tool.name + "\n";
        if (!tool.description.empty()) {
            text += "Description: " + tool.description + "\n";
        }
        text += "Parameters: " + tool.parameters + "\n";
    }
    return text;
}

}  // namespace

namespace lb {

void tell_tools(common_chat_templates_inputs & inputs, bool are_shown) {
    if (are_shown || inputs.tools.empty() || inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_NONE) {
        return;
    }
    const auto text  = describe(inputs.tools);
    auto &     first = inputs.messages.front();
    if (first.role != "system" && first.role != "developer") {
        common_chat_msg message;
        message.role    = "system";
        message.content = text;
        inputs.messages.insert(inputs.messages.begin(), std::move(message));
    } else if (first.content_parts.empty()) {
        first.content += first.content.empty() ? text : "\n\n" + text;
    } else {
        common_chat_msg_content_part part;
        part.type = "text";
        part.text = text;
        first.content_parts.push_back(std::move(part));
    }
}

}  // namespace lb
