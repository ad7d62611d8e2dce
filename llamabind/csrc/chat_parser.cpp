// Parses a model's answer into a message with llama.cpp's parser for the template's format, and computes the deltas that a
// client gets while the answer is generated.

#include "internal.h"

#include "chat.h"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

using lb::json;

namespace {

// The PEG parser recurses for each bracket of JSON. Brackets in plain text cannot be told from nesting, so the number of
// brackets, an upper bound of the depth, determines the stack size; a text with more than MAX_BRACKETS is not parsed.
constexpr size_t SMALL_STACK        = 16 * lb::MiB;
constexpr size_t STACK_PER_BRACKET  = 8 * 1024;
constexpr size_t MAX_BRACKETS       = 64 * 1024;

// What the deltas contained up to now. common_chat_msg_diff::compute_diffs is not used: it compares two parses, throws if
// they disagree, and repeats text after a parse that was shorter than the one before.
struct sent_call {
    bool        is_named = false;
    std::string arguments;
};

struct sent_message {
    std::string            content;
    std::string            reasoning;
    std::vector<sent_call> calls;
};

// 9 letters and digits: Mistral's templates require this form in the history, and OpenAI's clients accept any.
std::string new_call_id() {
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::random_device                    device;
    std::uniform_int_distribution<size_t> pick(0, sizeof(letters) - 2);
    std::string                           id;
    for (int i = 0; i < 9; i++) {
        id += letters[pick(device)];
    }
    return id;
}

json message_to_json(const common_chat_msg & message, bool is_fallback) {
    json calls = json::array();
    for (const auto & call : message.tool_calls) {
        json item;
        item["id"]        = call.id;
        item["name"]      = call.name;
        item["arguments"] = call.arguments;
        calls.push_back(item);
    }
    json result;
    result["role"]              = "assistant";
    result["content"]           = message.render_content();
    result["reasoning_content"] = message.reasoning_content;
    result["tool_calls"]        = calls;
    result["is_fallback"]       = is_fallback;
    return result;
}

bool starts_with(const std::string & text, const std::string & prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

// Appends to `sent_text` the part of `now` that was not sent, and returns it in `addition`. False if `now` contradicts what
// was sent.
bool advance(std::string & sent_text, const std::string & now, std::string & addition) {
    if (starts_with(now, sent_text)) {
        addition  = now.substr(sent_text.size());
        sent_text = now;
        return true;
    }
    addition.clear();
    return starts_with(sent_text, now);  // a shorter parse will grow again
}

}  // namespace

struct lb_parser {
    common_chat_parser_params params;
    std::string               text;
    common_chat_msg           message;
    sent_message              sent;
    std::vector<std::string>  call_ids;
    bool                      is_fallback = false;

    common_chat_msg parse(const std::string & input, bool is_partial) const {
        const auto n_brackets = static_cast<size_t>(
            std::count_if(input.begin(), input.end(), [](char c) { return c == '[' || c == '{' || c == '('; }));
        if (n_brackets > MAX_BRACKETS) {
            throw lb::failure(LB_ERROR, "too many brackets to parse");
        }
        common_chat_msg result;
        lb::run_with_stack(SMALL_STACK + n_brackets * STACK_PER_BRACKET,
                           [&] { result = common_chat_parse(input, is_partial, params); });
        return result;
    }

    // The message of a text that may not fit the format.
    common_chat_msg parse_or_text(const std::string & input, bool is_partial, bool & fell_back) const {
        try {
            fell_back = false;
            return parse(input, is_partial);
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &) {
            fell_back = true;
            common_chat_msg result;
            result.role    = "assistant";
            result.content = input;
            return result;
        }
    }

    // A partial text that does not parse may parse once it is longer, so until the end the message stays unchanged.
    void feed(bool is_final) {
        bool fell_back = false;
        auto now       = parse_or_text(text, !is_final, fell_back);
        if (fell_back && !is_final) {
            return;
        }
        const bool has_sent_more = !sent.reasoning.empty() || !sent.calls.empty();
        if (fell_back && (has_sent_more || !starts_with(text, sent.content))) {
            is_fallback = true;  // sent deltas cannot be taken back, so they are the message
            return;
        }
        now.set_tool_call_ids(call_ids, new_call_id);
        message     = std::move(now);
        is_fallback = fell_back;
    }

    void push_call(json & deltas, size_t index, bool is_final) {
        const auto & call = message.tool_calls[index];
        if (sent.calls.size() <= index) {
            sent.calls.resize(index + 1);
        }
        auto &     sent_before = sent.calls[index];
        const bool is_complete = is_final || index + 1 < message.tool_calls.size() || !call.arguments.empty();
        if (call.name.empty() || (!sent_before.is_named && !is_complete)) {
            return;  // the name may be incomplete until something follows it
        }
        std::string addition;
        is_fallback = !advance(sent_before.arguments, call.arguments, addition) || is_fallback;
        if (addition.empty() && sent_before.is_named) {
            return;
        }
        json item;
        item["index"] = index;
        if (!sent_before.is_named) {
            item["id"]           = call.id;
            item["name"]         = call.name;
            sent_before.is_named = true;
        }
        item["arguments"] = addition;
        json delta;
        delta["tool_call"] = item;
        deltas.push_back(delta);
    }

    json new_deltas(bool is_final) {
        json        deltas = json::array();
        std::string piece;
        const auto  push_text = [&](const char * key, std::string & sent_text, const std::string & now) {
            is_fallback = !advance(sent_text, now, piece) || is_fallback;
            if (!piece.empty()) {
                json delta;
                delta[key] = piece;
                deltas.push_back(delta);
            }
        };
        push_text("reasoning_content", sent.reasoning, message.reasoning_content);
        push_text("content", sent.content, message.render_content());
        for (size_t i = 0; i < message.tool_calls.size(); i++) {
            push_call(deltas, i, is_final);
        }
        if (is_final) {
            end_as_sent();
        }
        return deltas;
    }

    // The final message is the sum of the deltas, even if the last parse differs from them.
    void end_as_sent() {
        message.content           = sent.content;
        message.reasoning_content = sent.reasoning;
        message.content_parts.clear();
        message.tool_calls.resize(std::min(message.tool_calls.size(), sent.calls.size()));
        for (size_t i = 0; i < message.tool_calls.size(); i++) {
            message.tool_calls[i].arguments = sent.calls[i].arguments;
        }
    }
};

static void load_spec(lb_parser & parser, const char * spec_json) {
    const json spec = lb::parse_json(spec_json, "the parser");
    if (!spec.is_object()) {
        lb::invalid("the parser: must be an object");
    }
    const int format = spec.value("format", 0);
    if (format < 0 || format >= COMMON_CHAT_FORMAT_COUNT) {
        lb::invalid("the parser: format " + std::to_string(format) + " does not exist");
    }
    auto & params            = parser.params;
    params.format            = static_cast<common_chat_format>(format);
    params.generation_prompt = lb::get_string(spec, "generation_prompt");
    params.reasoning_format  = common_reasoning_format_from_name(lb::get_string(spec, "reasoning_format", "auto"));
    params.is_continuation   = lb::get_bool(spec, "is_continuation", false);
    const auto text          = lb::get_string(spec, "parser");
    if (!text.empty()) {
        params.parser.load(text);
    }
    if (params.is_continuation) {
        // The client sent the text that the answer continues, so the deltas leave it out.
        bool       fell_back = false;
        const auto prefill   = parser.parse_or_text("", true, fell_back);
        if (!fell_back) {
            parser.sent.content   = prefill.render_content();
            parser.sent.reasoning = prefill.reasoning_content;
        }
    }
}

lb_parser * lb_parser_init(const char * spec_json) {
    return lb::guard_pointer([&] {
        auto parser = std::make_unique<lb_parser>();
        if (spec_json != nullptr && spec_json[0] != 0) {
            load_spec(*parser, spec_json);
        }
        return parser.release();
    });
}

void lb_parser_free(lb_parser * parser) { delete parser; }

char * lb_parser_parse(const lb_parser * parser, const char * text, size_t n_text, bool is_partial) {
    return lb::guard_pointer([&] {
        bool fell_back = false;
        auto message   = parser->parse_or_text(std::string(text, n_text), is_partial, fell_back);
        for (auto & call : message.tool_calls) {
            if (call.id.empty()) {
                call.id = new_call_id();
            }
        }
        return lb::copy_string(message_to_json(message, fell_back).dump_safe());
    });
}

char * lb_parser_feed(lb_parser * parser, const char * text, size_t n_text, bool is_final) {
    return lb::guard_pointer([&] {
        parser->text.append(text, n_text);
        parser->feed(is_final);
        json result;
        result["deltas"]      = parser->new_deltas(is_final);
        result["is_fallback"] = parser->is_fallback;
        return lb::copy_string(result.dump_safe());
    });
}

char * lb_parser_message(const lb_parser * parser) {
    return lb::guard_pointer(
        [&] { return lb::copy_string(message_to_json(parser->message, parser->is_fallback).dump_safe()); });
}
