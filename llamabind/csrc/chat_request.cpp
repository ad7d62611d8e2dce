// Reads a chat request with llama-server's checks. Its messages are read in chat_messages.cpp.

#include "chat_request.h"

#include <ctime>
#include <set>

using lb::get_bool;
using lb::get_string;
using lb::invalid;
using lb::json;

namespace {

common_chat_tool read_tool(const json & tool, const std::string & where, bool has_grammar) {
    if (!tool.is_object() || get_string(tool, "type", "function") != "function" || !tool.contains("function") ||
        !tool.at("function").is_object()) {
        invalid(where + ": must be an object {\"type\": \"function\", \"function\": {...}}");
    }
    const json &     function = tool.at("function");
    common_chat_tool result;
    result.name        = get_string(function, "name");
    result.description = get_string(function, "description");
    if (result.name.empty() || result.name.size() > 256) {
        invalid(where + ".function.name: must be a string of 1 to 256 bytes");
    }
    const json parameters = common_chat_tool_parameters(function);
    if (!parameters.is_object()) {
        invalid(where + ".function.parameters: must be a JSON schema object");
    }
    if (has_grammar) {
        lb::schema_to_grammar(parameters, where + ".function.parameters");
    }
    result.parameters = parameters.dump();
    return result;
}

std::vector<common_chat_tool> read_tools(const json & request, const char * key, bool have_grammar) {
    std::vector<common_chat_tool> result;
    if (!request.contains(key) || request.at(key).is_null()) {
        return result;
    }
    const json & tools = request.at(key);
    if (!tools.is_array()) {
        invalid(std::string(key) + ": must be an array");
    }
    std::set<std::string> names;
    for (size_t i = 0; i < tools.size(); i++) {
        const auto where = std::string(key) + "[" + std::to_string(i) + "]";
        auto       tool  = lb::inside(where, [&] { return read_tool(tools.at(i), where, have_grammar); });
        if (!names.insert(tool.name).second) {
            invalid(where + ".function.name: \"" + tool.name + "\" is there twice");
        }
        result.push_back(std::move(tool));
    }
    return result;
}

bool keep_only(const std::string & name, std::vector<common_chat_tool> & tools) {
    for (const auto & tool : tools) {
        if (tool.name == name) {
            tools = { common_chat_tool(tool) };
            return true;
        }
    }
    return false;
}

// Forces a named function: it becomes the only tool, and a call is required.
void force_function(const std::string & name, lb::chat_request & result) {
    if (!keep_only(name, result.inputs.tools)) {
        invalid("tool_choice: \"" + lb::shorten(name, 100) + "\" is not among the tools");
    }
    result.inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    keep_only(name, result.shown_tools);
}

void read_tool_choice(const json & request, lb::chat_request & result) {
    auto & inputs = result.inputs;
    if (!request.contains("tool_choice") || request.at("tool_choice").is_null()) {
        return;
    }
    const json & choice = request.at("tool_choice");
    if (choice.is_object()) {
        const bool nested = choice.contains("function") && choice.at("function").is_object();
        force_function(get_string(nested ? choice.at("function") : choice, "name"), result);
    } else if (choice.is_string() && (choice == "auto" || choice == "none" || choice == "required")) {
        inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(choice.get<std::string>());
    } else {
        invalid("tool_choice: must be auto, none, required or an object that names a function");
    }
    if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && inputs.tools.empty()) {
        invalid("tool_choice: a call is required but there are no tools");
    }
}

void read_constraints(const json & request, lb::chat_request & result) {
    auto & inputs       = result.inputs;
    result.user_grammar = get_string(request, "grammar");
    const bool has_schema = request.contains("json_schema") && !request.at("json_schema").is_null();
    const bool may_call   = !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE;
    if (has_schema && !result.user_grammar.empty()) {
        invalid("grammar: cannot be used together with a JSON schema");
    }
    if (may_call && !result.user_grammar.empty()) {
        invalid("grammar: cannot be used together with tools");
    }
    // The formats of some templates would ignore the schema, of others the tools.
    if (may_call && has_schema) {
        invalid("json_schema: response_format cannot be kept where tools may be called: leave out one, or call none");
    }
    if (has_schema) {
        json schema = request.at("json_schema");
        if (schema.is_object() && schema.empty()) {
            schema["type"] = "object";
        }
        lb::schema_to_grammar(schema, "json_schema");
        inputs.json_schema = schema.dump();
    }
}

common_chat_continuation read_continuation(const json & request) {
    if (!request.contains("continue_final_message")) {
        return COMMON_CHAT_CONTINUATION_NONE;
    }
    const json & value  = request.at("continue_final_message");
    const auto   result = common_chat_continuation_parse(value);
    if (result == COMMON_CHAT_CONTINUATION_NONE && !value.is_null() && !value.is_boolean()) {
        invalid("continue_final_message: must be true, false, \"content\" or \"reasoning_content\"");
    }
    return result;
}

void read_prompt_end(const json & request, common_chat_templates_inputs & inputs) {
    inputs.continue_final_message = read_continuation(request);
    const bool continues          = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
    inputs.add_generation_prompt  = get_bool(request, "add_generation_prompt", !continues);
    if (!continues) {
        return;
    }
    if (inputs.add_generation_prompt) {
        invalid("continue_final_message: cannot be combined with add_generation_prompt");
    }
    const auto & last = inputs.messages.back();
    if (last.role != "assistant" || !last.tool_calls.empty()) {
        invalid("continue_final_message: the last message must be an assistant message without tool calls");
    }
}

void read_kwargs(const json & request, common_chat_templates_inputs & inputs) {
    if (!request.contains("chat_template_kwargs") || request.at("chat_template_kwargs").is_null()) {
        return;
    }
    const json & kwargs = request.at("chat_template_kwargs");
    if (!kwargs.is_object()) {
        invalid("chat_template_kwargs: must be an object");
    }
    for (const auto & item : kwargs.items()) {
        if (item.key() == "messages" || item.key() == "tools") {
            invalid("chat_template_kwargs." + item.key() + ": is given by the request itself");
        }
        inputs.chat_template_kwargs[item.key()] = item.value().dump();
    }
    if (kwargs.contains("enable_thinking")) {
        inputs.enable_thinking = get_bool(kwargs, "enable_thinking", inputs.enable_thinking);
    }
}

void read_reasoning(const json & request, common_chat_templates_inputs & inputs) {
    try {
        inputs.reasoning_format =
            common_reasoning_format_from_name(get_string(request, "reasoning_format", "auto"));
    } catch (const std::runtime_error &) {
        invalid("reasoning_format: must be none, auto, deepseek or deepseek-legacy");
    }
    inputs.enable_thinking = get_bool(request, "enable_thinking", true);
    read_kwargs(request, inputs);
    const auto effort = get_string(request, "reasoning_effort");
    if (effort == "none") {
        inputs.enable_thinking = false;
        inputs.chat_template_kwargs.erase("reasoning_effort");
    } else if (!effort.empty()) {
        inputs.chat_template_kwargs["reasoning_effort"] = json(effort).dump();
    }
}

// Sets the template variables that llama.cpp would otherwise take from the clock.
void read_now(const json & request, common_chat_templates_inputs & inputs) {
    if (!request.contains("now") || request.at("now").is_null()) {
        return;
    }
    if (!request.at("now").is_number()) {
        invalid("now: must be a number of seconds since the epoch");
    }
    const double seconds = request.at("now").get<double>();
    if (!(seconds >= 0 && seconds < 253402300800.0)) {
        invalid("now: must be between the years 1970 and 9999");
    }
    const auto time = static_cast<std::time_t>(seconds);
    std::tm    parts{};
#ifdef _WIN32
    localtime_s(&parts, &time);
#else
    localtime_r(&time, &parts);
#endif
    const auto set = [&](const char * name, const char * format) {
        char text[64];
        std::strftime(text, sizeof(text), format, &parts);
        inputs.chat_template_kwargs.emplace(name, json(std::string(text)).dump());
    };
    inputs.now = std::chrono::system_clock::from_time_t(time);
    set("datetime", "%b %d %Y");
    set("date_string", "%d %b %Y");
}

}  // namespace

namespace lb {

chat_request read_chat_request(const json & request, const common_chat_templates * templates) {
    if (!request.is_object()) {
        invalid("the request: must be a JSON object");
    }
    chat_request result;
    auto &       inputs = result.inputs;
    read_messages(request, inputs);
    inputs.tools       = read_tools(request, "tools", true);
    result.shown_tools = read_tools(request, "shown_tools", false);
    read_tool_choice(request, result);
    read_constraints(request, result);
    read_prompt_end(request, inputs);
    read_reasoning(request, inputs);
    read_now(request, inputs);
    auto caps                  = common_chat_templates_get_caps(templates);
    inputs.parallel_tool_calls = get_bool(request, "parallel_tool_calls", caps["supports_parallel_tool_calls"]);
    inputs.force_pure_content  = get_bool(request, "force_pure_content", false);
    add_tools_to_system_message(result, caps["supports_tools"]);
    return result;
}

}  // namespace lb
