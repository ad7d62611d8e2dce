// Chat templates: llama.cpp parses and renders them; the errors say why it could not.

#include "chat_request.h"
#include "render_limit.h"
#include "render_sizes.h"
#include "template_limits.h"

#include "log.h"

#include <memory>
#include <mutex>

using lb::failure;
using lb::json;

struct lb_chat {
    common_chat_templates_ptr templates;
};

namespace {

constexpr size_t RENDER_STACK = 64 * lb::MiB;

const char RAISED[]    = "Error: Jinja Exception: ";
const char NO_PARSER[] = "Unable to generate parser for this template";

// llama.cpp's "common" prints warnings that contain client text on stderr. The important ones are returned as errors.
void silence_common_log() {
    static std::once_flag once;
    std::call_once(once, [] { common_log_set_verbosity_thold(LOG_LEVEL_OUTPUT - 1); });
}

// NOTE: common_chat_templates_init rethrows with `throw e`, which slices off the message; parsing again returns it.
std::string why_not_parsed(const char * source, const std::string & fallback) {
    try {
        if (source != nullptr) {
            common_chat_template(source, "", "");
        }
    } catch (const std::exception & e) {
        return e.what();
    }
    return fallback;
}

common_chat_templates_ptr parse_templates(const llama_model * model, const char * text) {
    const bool   has_override = text != nullptr && text[0] != 0;
    const char * source       = has_override ? text : nullptr;
    if (!has_override && model == nullptr) {
        lb::invalid("chat template: neither a model nor a template was given");
    }
    if (!has_override) {
        source = llama_model_chat_template(model, nullptr);
    }
    const char * tool_source = has_override ? nullptr : llama_model_chat_template(model, "tool_use");
    for (const char * one : { tool_source, source }) {
        lb::check_template(one);
        lb::try_template(one);
    }
    try {
        return common_chat_templates_init(model, has_override ? text : "");
    } catch (const std::exception & e) {
        lb::invalid("chat template: " + lb::shorten(why_not_parsed(source, e.what())));
    }
}

[[noreturn]] void fail_render(const std::string & message) {
    const auto raised = message.rfind(RAISED);
    if (raised != std::string::npos) {
        throw failure(LB_REFUSED, lb::shorten(message.substr(raised + sizeof(RAISED) - 1)));
    }
    throw failure(LB_ERROR, "the chat template failed: " + lb::shorten(message));
}

common_chat_params apply(const common_chat_templates * templates, common_chat_templates_inputs inputs) {
    try {
        return common_chat_templates_apply(templates, inputs);
    } catch (const std::exception & e) {
        const std::string message  = e.what();
        const bool        can_text = inputs.tools.empty() && inputs.json_schema.empty() && !inputs.force_pure_content;
        if (!can_text || message.find(NO_PARSER) == std::string::npos || message.find(RAISED) != std::string::npos) {
            fail_render(message);
        }
    }
    // llama.cpp can render this template but not derive a parser for its output; without tools none is needed.
    inputs.force_pure_content = true;
    try {
        return common_chat_templates_apply(templates, inputs);
    } catch (const std::exception & e) {
        fail_render(e.what());
    }
}

// Adds the grammar that the request needs where llama.cpp's format for this template has none.
void complete_constraints(const lb::chat_request & request, common_chat_params & params, bool & is_prefilled) {
    is_prefilled = !params.grammar.empty() && !params.grammar_lazy;
    if (params.grammar_lazy && !request.inputs.json_schema.empty()) {
        lb::invalid("json_schema: this model's chat template has no format that can enforce it");
    }
    if (!params.grammar.empty()) {
        return;
    }
    if (!request.user_grammar.empty()) {
        params.grammar = request.user_grammar;
    } else if (!request.inputs.json_schema.empty()) {
        params.grammar = lb::schema_to_grammar(json::parse(request.inputs.json_schema), "json_schema");
    } else if (request.inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED) {
        lb::invalid("tool_choice: this model's chat template has no tool-call format, so a call cannot be forced");
    }
}

// Some formats use a lazy grammar whenever there are tools, even if none may be called. The format without tools enforces
// the schema from the first token; the prompt stays the one with tools.
void use_format_without_tools(const common_chat_templates * templates, common_chat_templates_inputs inputs,
                  common_chat_params & params) {
    inputs.tools.clear();
    auto without = apply(templates, std::move(inputs));
    if (without.generation_prompt == params.generation_prompt) {
        without.prompt = params.prompt;
        params         = std::move(without);
    }
}

const char * trigger_name(common_grammar_trigger_type type) {
    switch (type) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:        return "token";
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:         return "word";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:      return "pattern";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: return "pattern_full";
    }
    return "pattern";
}

json triggers_to_json(const std::vector<common_grammar_trigger> & triggers) {
    json result = json::array();
    for (const auto & trigger : triggers) {
        json item;
        item["type"]  = trigger_name(trigger.type);
        item["value"] = trigger.value;
        item["token"] = trigger.token;
        result.push_back(item);
    }
    return result;
}

std::string parser_spec(const common_chat_params & params, const common_chat_templates_inputs & inputs) {
    json spec;
    spec["format"]            = static_cast<int>(params.format);
    spec["parser"]            = params.parser;
    spec["generation_prompt"] = params.generation_prompt;
    spec["reasoning_format"]  = common_reasoning_format_name(inputs.reasoning_format);
    spec["is_continuation"]   = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
    return spec.dump_safe();
}

json render(const common_chat_templates * templates, const char * request_json) {
    auto request     = lb::read_chat_request(lb::parse_json(request_json, "the request"), templates);
    auto params      = apply(templates, request.inputs);
    bool is_prefilled = false;
    if (params.grammar_lazy && !request.inputs.json_schema.empty()) {
        use_format_without_tools(templates, request.inputs, params);
    }
    complete_constraints(request, params, is_prefilled);
    lb::show_tools(templates, request, params);
    json result;
    result["prompt"]             = params.prompt;
    result["format"]             = common_chat_format_name(params.format);
    result["grammar"]            = params.grammar;
    result["grammar_lazy"]       = params.grammar_lazy;
    result["grammar_triggers"]   = triggers_to_json(params.grammar_triggers);
    result["grammar_prefill"]    = is_prefilled ? params.generation_prompt : std::string();
    result["generation_prompt"]  = params.generation_prompt;
    result["preserved_tokens"]   = params.preserved_tokens;
    result["additional_stops"]   = params.additional_stops;
    result["supports_thinking"]  = params.supports_thinking;
    result["thinking_start_tag"] = params.thinking_start_tag;
    result["thinking_end_tags"]  = params.thinking_end_tags;
    result["message_delimiters"] = params.message_delimiters.to_json();
    result["parser"]             = parser_spec(params, request.inputs);
    return result;
}

// llama.cpp renders a single message to find out; templates that refuse it count as not supporting it.
bool supports_thinking(const common_chat_templates * templates) {
    try {
        return common_chat_templates_support_enable_thinking(templates);
    } catch (const std::exception &) {
        return false;
    }
}

}  // namespace

lb_chat * lb_chat_init(const llama_model * model, const char * template_override, const int32_t * stop) {
    return lb::guard_pointer([&] {
        silence_common_log();
        // Before the first template is parsed: llama.cpp renders each one then, and so reads the table of functions.
        lb::limit_functions();
        auto chat = std::make_unique<lb_chat>();
        lb::run_with_stack(RENDER_STACK, [&] {
            const lb::render_limit limit(0, stop);
            lb::run_stoppable([&] { chat->templates = parse_templates(model, template_override); });
            lb::add_checks(chat->templates.get());
        });
        return chat.release();
    });
}

void lb_chat_free(lb_chat * chat) { delete chat; }

char * lb_chat_describe(const lb_chat * chat, const int32_t * stop) {
    return lb::guard_pointer([&] {
        json result;
        lb::run_with_stack(RENDER_STACK, [&] {
            const lb::render_limit limit(0, stop);
            const auto *           templates = chat->templates.get();
            result["source"]                 = common_chat_templates_source(templates);
            result["explicit"]               = common_chat_templates_was_explicit(templates);
            lb::run_stoppable([&] { result["supports_thinking"] = supports_thinking(templates); });
            for (const auto & [name, value] : common_chat_templates_get_caps(templates)) {
                result[name] = value;
            }
        });
        return lb::copy_string(result.dump_safe());
    });
}

char * lb_chat_render(const lb_chat * chat, const char * request_json, double max_seconds, const int32_t * stop) {
    return lb::guard_pointer([&] {
        std::string text;
        lb::run_with_stack(RENDER_STACK, [&] {
            const lb::render_limit limit(max_seconds, stop);
            lb::run_stoppable([&] { text = render(chat->templates.get(), request_json).dump_safe(); });
        });
        return lb::copy_string(text);
    });
}
