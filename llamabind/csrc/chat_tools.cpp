// What the model reads of the tools.
//
// Templates that write calls but do not show what may be called: their makers put the definitions into a system
// message by hand. And tools whose schemas were changed for the grammar are shown as they came.

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

void tell_tools(chat_request & request, bool are_shown) {
    auto & inputs = request.inputs;
    if (are_shown || inputs.tools.empty() || inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_NONE) {
        return;
    }
    const auto text  = describe(request.shown_tools.empty() ? inputs.tools : request.shown_tools);
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

void show_tools(const common_chat_templates * templates, const chat_request & request, common_chat_params & params) {
    if (request.shown_tools.empty()) {
        return;
    }
    auto inputs               = request.inputs;
    inputs.force_pure_content = true;  // the prompt alone, without a grammar
    std::string fitted, shown;
    try {
        fitted       = common_chat_templates_apply(templates, inputs).prompt;
        inputs.tools = request.shown_tools;
        shown        = common_chat_templates_apply(templates, inputs).prompt;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &) {
        return;  // such as a template that cannot read a property whose schema is `true`
    }
    // Some formats change the messages, or add to the prompt what an answer is continued with.
    if (params.prompt.compare(0, fitted.size(), fitted) == 0) {
        params.prompt = shown + params.prompt.substr(fitted.size());
    }
}

}  // namespace lb
