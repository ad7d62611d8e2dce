// Reads the messages of a chat request, and refuses malformed history before llama.cpp gets it.

#include "chat_request.h"

using lb::get_string;
using lb::invalid;
using lb::json;

namespace {

// Clients send "" for a call without arguments; templates expect an object.
std::string read_arguments(const json & call, const std::string & where) {
    if (!call.contains("arguments") || call.at("arguments").is_null()) {
        return "{}";
    }
    const json & arguments = call.at("arguments");
    if (arguments.is_object()) {
        return arguments.dump();
    }
    if (!arguments.is_string()) {
        invalid(where + ".arguments: must be a JSON object, or a string that holds one");
    }
    const auto text = arguments.get<std::string>();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
        return "{}";
    }
    if (!lb::parse_json(text, where + ".arguments").is_object()) {
        invalid(where + ".arguments: must hold a JSON object");
    }
    return text;
}

common_chat_tool_call read_tool_call(const json & call, const std::string & where) {
    if (!call.is_object() || !call.contains("function") || !call.at("function").is_object()) {
        invalid(where + ": must be an object with a member function");
    }
    if (call.contains("type") && !(call.at("type").is_string() && call.at("type") == "function")) {
        invalid(where + ".type: only \"function\" is supported");
    }
    const json &          function = call.at("function");
    common_chat_tool_call result;
    result.name      = get_string(function, "name");
    result.id        = get_string(call, "id");
    result.arguments = read_arguments(function, where + ".function");
    if (result.name.empty()) {
        invalid(where + ".function.name: must be a non-empty string");
    }
    return result;
}

void read_content(const json & content, const std::string & where, common_chat_msg & message) {
    if (content.is_null()) {
        return;
    }
    if (content.is_string()) {
        message.content = content.get<std::string>();
        return;
    }
    if (!content.is_array()) {
        invalid(where + ": must be a string or an array of parts");
    }
    for (size_t i = 0; i < content.size(); i++) {
        const json & part  = content.at(i);
        const auto   place = where + "[" + std::to_string(i) + "]";
        const auto   type  = part.is_object() ? get_string(part, "type") : std::string();
        if (type != "text" && type != "media_marker") {
            invalid(place + ".type: only \"text\" is supported, not \"" + lb::shorten(type, 40) + "\"");
        }
        if (!part.contains("text") || !part.at("text").is_string()) {
            invalid(place + ".text: must be a string");
        }
        common_chat_msg_content_part result;
        result.type = type;
        result.text = part.at("text").get<std::string>();
        message.content_parts.push_back(std::move(result));
    }
}

common_chat_msg read_message(const json & message, const std::string & where) {
    if (!message.is_object()) {
        invalid(where + ": must be an object");
    }
    common_chat_msg result;
    result.role              = get_string(message, "role");
    result.reasoning_content = get_string(message, "reasoning_content");
    result.tool_name         = get_string(message, "name");
    result.tool_call_id      = get_string(message, "tool_call_id");
    if (result.role.empty()) {
        invalid(where + ".role: must be a non-empty string");
    }
    const bool has_calls = message.contains("tool_calls") && !message.at("tool_calls").is_null();
    if (has_calls) {
        const json & calls = message.at("tool_calls");
        if (!calls.is_array()) {
            invalid(where + ".tool_calls: must be an array");
        }
        for (size_t i = 0; i < calls.size(); i++) {
            result.tool_calls.push_back(
                read_tool_call(calls.at(i), where + ".tool_calls[" + std::to_string(i) + "]"));
        }
    }
    if (message.contains("content")) {
        read_content(message.at("content"), where + ".content", result);
    } else if (result.role != "assistant" || (!has_calls && result.reasoning_content.empty())) {
        invalid(where + ".content: is missing");
    }
    return result;
}

}  // namespace

namespace lb {

void read_messages(const json & request, common_chat_templates_inputs & inputs) {
    if (!request.contains("messages") || !request.at("messages").is_array() || request.at("messages").empty()) {
        invalid("messages: must be a non-empty array");
    }
    const json & messages = request.at("messages");
    for (size_t i = 0; i < messages.size(); i++) {
        const auto where = "messages[" + std::to_string(i) + "]";
        inputs.messages.push_back(inside(where, [&] { return read_message(messages.at(i), where); }));
    }
}

}  // namespace lb
