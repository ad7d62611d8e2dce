// The tools as the model reads them.
//
// Some templates render tool calls but not the definitions of the tools, which their authors put into a system message.
// Tools whose schemas were changed for the grammar are shown as the client sent them.

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

void add_tools_to_system_message(chat_request & request, bool are_shown) {
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
    inputs.force_pure_content = true;  // renders the prompt without making a grammar
    std::string fitted, shown;
    try {
        fitted       = common_chat_templates_apply(templates, inputs).prompt;
        inputs.tools = request.shown_tools;
        shown        = common_chat_templates_apply(templates, inputs).prompt;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &) {
        return;  // e.g. the template cannot render a property whose schema is `true`
    }
    // Some formats change the messages or add text to the prompt, which then is not the template's alone.
    if (params.prompt.compare(0, fitted.size(), fitted) == 0) {
        params.prompt = shown + params.prompt.substr(fitted.size());
    }
}

}  // namespace lb
