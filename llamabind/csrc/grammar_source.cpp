// Reading a grammar's description: text, root rule, triggers, prefill.

#include "grammar_source.h"
#include "token_text.h"

#include "common.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace {

// Replaces llama.cpp's loop over rules, which prints an error with the whole grammar on stderr instead of returning it.
void parse_rules(const std::string & text, llama_grammar_parser & parser) {
    // parse_rule expects the name of a rule, so comments before the first rule are skipped here.
    size_t begin = 0;
    while (begin < text.size() && (std::strchr(" \t\r\n", text[begin]) != nullptr || text[begin] == '#')) {
        begin = text[begin] == '#' ? std::min(text.find_first_of("\r\n", begin), text.size()) : begin + 1;
    }
    try {
        const char * pos = text.c_str() + begin;
        while (*pos != 0) {
            pos = parser.parse_rule(pos);
        }
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & e) {
        lb::invalid("grammar: " + lb::shorten(e.what(), 200));
    }
}

std::vector<llama_token> prefill_tokens(const llama_vocab * vocab, const std::string & text) {
    auto tokens = common_tokenize(vocab, text, false, true);
    // As common_sampler_init: some tokenizers add a space before the first special token.
    if (!tokens.empty()) {
        const auto piece = lb::piece_of(vocab, tokens[0]);
        if (!piece.empty() && std::isspace(static_cast<unsigned char>(piece[0])) &&
            !std::isspace(static_cast<unsigned char>(text[0]))) {
            tokens.erase(tokens.begin());
        }
    }
    return tokens;
}

}  // namespace

namespace lb {

std::shared_ptr<const grammar_source> read_grammar(const llama_vocab * vocab, const json & spec) {
    if (!spec.is_object()) {
        invalid("grammar: the specification must be a JSON object");
    }
    auto       source = std::make_shared<grammar_source>(vocab);
    const auto text   = get_string(spec, "grammar");
    source->root      = get_string(spec, "root", "root");
    source->is_lazy   = get_bool(spec, "lazy", false);
    check_grammar_text(text);
    parse_rules(text, source->parser);
    const auto & symbols = source->parser.symbol_ids;
    if (symbols.find(source->root) == symbols.end()) {
        invalid("grammar: has no rule \"" + shorten(source->root, 80) + "\"");
    }
    check_grammar_rules(source->parser);
    if (spec.contains("triggers") && spec.at("triggers").is_array()) {
        const json & triggers = spec.at("triggers");
        for (size_t i = 0; i < triggers.size(); i++) {
            source->triggers.add(triggers.at(i), "triggers[" + std::to_string(i) + "]");
        }
    }
    if (source->is_lazy && source->triggers.empty()) {
        invalid("triggers: a lazy grammar needs at least one");
    }
    if (!source->is_lazy) {
        source->prefill = prefill_tokens(vocab, get_string(spec, "prefill"));
    }
    return source;
}

}  // namespace lb
