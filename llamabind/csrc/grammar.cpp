// Guarded grammars. llama.cpp aborts on an end-of-generation token inside an open grammar and throws on a token that
// does not fit; here a token is tested on its own first, and what still throws is undone.

#include "grammar.h"

#include "common.h"

#include <chrono>
#include <cmath>
#include <cstring>

using lb::json;

namespace {

constexpr size_t PARSE_STACK = 64 * lb::MiB;
constexpr size_t SMALL_APPLY = 64;
constexpr size_t MAX_LENGTH  = 64;
constexpr auto   APPLY_TIME  = std::chrono::seconds(1);

// The parser's loop over rules, ours so that an error comes back instead of going to stderr with the whole text.
void parse_rules(const std::string & text, llama_grammar_parser & parser) {
    // parse_rule expects a rule's name: a comment line before the first rule is skipped here.
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
    // As common_sampler_init: some tokenizers put a space before the first special token.
    if (!tokens.empty()) {
        const auto piece = lb::piece_of(vocab, tokens[0]);
        if (!piece.empty() && std::isspace(static_cast<unsigned char>(piece[0])) &&
            !std::isspace(static_cast<unsigned char>(text[0]))) {
            tokens.erase(tokens.begin());
        }
    }
    return tokens;
}

std::shared_ptr<lb::grammar_source> read_spec(const llama_vocab * vocab, const json & spec) {
    if (!spec.is_object()) {
        lb::invalid("the grammar's description: must be an object");
    }
    auto       source = std::make_shared<lb::grammar_source>(vocab);
    const auto text   = lb::get_string(spec, "grammar");
    source->root      = lb::get_string(spec, "root", "root");
    source->is_lazy   = lb::get_bool(spec, "lazy", false);
    lb::check_grammar_text(text);
    parse_rules(text, source->parser);
    const auto & symbols = source->parser.symbol_ids;
    if (symbols.find(source->root) == symbols.end()) {
        lb::invalid("grammar: has no rule \"" + lb::shorten(source->root, 80) + "\"");
    }
    source->facts = lb::check_grammar_rules(source->parser);
    if (spec.contains("triggers") && spec.at("triggers").is_array()) {
        const json & triggers = spec.at("triggers");
        for (size_t i = 0; i < triggers.size(); i++) {
            source->triggers.add(triggers.at(i), "triggers[" + std::to_string(i) + "]");
        }
    }
    if (source->is_lazy && source->triggers.empty()) {
        lb::invalid("triggers: a lazy grammar needs at least one");
    }
    if (!source->is_lazy) {
        source->prefill = prefill_tokens(vocab, lb::get_string(spec, "prefill"));
    }
    return source;
}

// Continuation bytes and lead bytes in order: only then is "one character" the same for us as for llama.cpp.
std::vector<uint32_t> characters_of(const std::string & piece) {
    std::vector<uint32_t> result;
    for (size_t i = 0; i < piece.size();) {
        const auto   lead = static_cast<unsigned char>(piece[i]);
        const size_t n    = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (n == 0 || i + n > piece.size()) {
            return {};
        }
        uint32_t value = n == 1 ? lead : lead & (0x7FU >> n);
        for (size_t k = 1; k < n; k++) {
            value = (value << 6) | (static_cast<unsigned char>(piece[i + k]) & 0x3FU);
        }
        result.push_back(value);
        i += n;
    }
    return result;
}

}  // namespace

std::string lb::piece_of(const llama_vocab * vocab, llama_token token) {
    std::string   piece(32, '\0');
    const int32_t n = llama_token_to_piece(vocab, token, piece.data(), 32, 0, true);
    if (n < 0) {
        piece.resize(static_cast<size_t>(-n));
        llama_token_to_piece(vocab, token, piece.data(), -n, 0, true);
    } else {
        piece.resize(static_cast<size_t>(n));
    }
    return piece;
}

void lb::expect_token(const llama_vocab * vocab, llama_token token) {
    if (token < 0 || token >= llama_vocab_n_tokens(vocab)) {
        invalid("token " + std::to_string(token) + " is not in the vocabulary");
    }
}

int32_t lb::refuse_token(llama_token token) {
    return set_error(LB_TOKEN_REFUSED, "the grammar does not allow token " + std::to_string(token) + " here");
}

lb_grammar::lb_grammar(const llama_vocab * vocab, std::shared_ptr<const lb::grammar_source> source) :
    vocab_(vocab), source_(std::move(source)) {
    restart();
}

lb_grammar::lb_grammar(const lb_grammar & other) :
    vocab_(other.vocab_),
    source_(other.source_),
    state_(llama_grammar_clone_impl(*other.state_)),
    is_waiting_(other.is_waiting_),
    is_whole_(other.is_whole_),
    waiting_text_(other.waiting_text_),
    waiting_tokens_(other.waiting_tokens_) {}

void lb_grammar::reset() {
    lb::run_with_stack(PARSE_STACK, [&] { restart(); });
}

// NOTE: llama.cpp checks for left recursion by recursion over the rules, so this needs a large stack.
void lb_grammar::restart() {
    auto       rules = source_->parser.c_rules();
    const auto root  = source_->parser.symbol_ids.at(source_->root);
    std::unique_ptr<llama_grammar, lb::grammar_deleter> state(
        llama_grammar_init_impl(vocab_, rules.data(), rules.size(), root));
    if (!state) {
        lb::invalid("grammar: left recursion, directly or through rules that may be empty");
    }
    state_      = std::move(state);
    is_waiting_ = source_->is_lazy;
    is_whole_   = true;
    waiting_text_.clear();
    waiting_tokens_.clear();
    accept_prefill();
}

void lb_grammar::accept_prefill() {
    for (const llama_token token : source_->prefill) {
        if (!accept(token)) {
            lb::invalid("prefill: the grammar does not accept it");
        }
    }
}

bool lb_grammar::is_complete() const {
    for (const auto & stack : state_->stacks) {
        if (stack.empty()) {
            return true;
        }
    }
    return is_waiting_;
}

bool lb_grammar::allows(llama_token token) const {
    if (is_waiting_) {
        return true;
    }
    llama_token_data       one{ token, 1.0F, 0.0F };
    llama_token_data_array candidates{ &one, 1, -1, false };
    llama_grammar_apply_impl(*state_, &candidates);
    return one.logit != -INFINITY;
}

bool lb_grammar::accept(llama_token token) {
    if (is_waiting_) {
        return accept_waiting(token);
    }
    if (!allows(token)) {
        return false;
    }
    return llama_vocab_is_eog(vocab_, token) || accept_piece(token, lb::piece_of(vocab_, token));
}

bool lb_grammar::accept_waiting(llama_token token) {
    const auto piece = lb::piece_of(vocab_, token);
    if (source_->triggers.has_token(token)) {
        is_waiting_ = false;
        if (accept_piece(token, piece)) {
            return true;
        }
        is_waiting_ = true;
        return false;
    }
    waiting_tokens_.push_back({ token, waiting_text_.size() });
    waiting_text_ += piece;
    const size_t start = source_->triggers.find(waiting_text_, piece.size(), is_whole_);
    if (start == std::string::npos) {
        forget_old_text();
        return true;
    }
    if (accept_from(start)) {
        return true;
    }
    waiting_text_.resize(waiting_tokens_.back().begin);
    waiting_tokens_.pop_back();
    return false;
}

// Feeds the text from `start` on, token by token as they came, the first one from the middle if need be.
bool lb_grammar::accept_from(size_t start) {
    const auto stacks  = state_->stacks;
    const auto partial = state_->partial_utf8;
    for (size_t i = 0; i < waiting_tokens_.size(); i++) {
        const size_t end   = i + 1 < waiting_tokens_.size() ? waiting_tokens_[i + 1].begin : waiting_text_.size();
        const size_t begin = std::max(start, waiting_tokens_[i].begin);
        if (begin < end &&
            !accept_piece(waiting_tokens_[i].token, waiting_text_.substr(begin, end - begin))) {
            state_->stacks       = stacks;
            state_->partial_utf8 = partial;
            return false;
        }
    }
    is_waiting_ = false;
    waiting_text_.clear();
    waiting_tokens_.clear();
    return true;
}

void lb_grammar::forget_old_text() {
    if (waiting_text_.size() <= 2 * lb::trigger_set::MAX_BUFFER) {
        return;
    }
    const size_t least = waiting_text_.size() - lb::trigger_set::MAX_BUFFER;
    size_t       n     = 0;
    while (n + 1 < waiting_tokens_.size() && waiting_tokens_[n].begin < least) {
        n++;
    }
    const size_t begin = waiting_tokens_[n].begin;
    waiting_tokens_.erase(waiting_tokens_.begin(), waiting_tokens_.begin() + static_cast<std::ptrdiff_t>(n));
    for (auto & entry : waiting_tokens_) {
        entry.begin -= begin;
    }
    waiting_text_.erase(0, begin);
    is_whole_ = false;
}

// Whether the stacks stay within bounds on the way through the piece: they may double with every character.
bool lb_grammar::stays_small(const std::string & piece) {
    if (lb::count_next_stacks(state_->stacks, source_->facts) > 2 * lb::MAX_STACKS) {
        return false;
    }
    const auto characters = characters_of(piece);
    if (characters.size() < 2 || state_->partial_utf8.n_remain != 0) {
        return true;
    }
    const auto before   = state_->stacks;
    bool       is_small = true;
    for (const uint32_t c : characters) {
        llama_grammar_accept(state_.get(), c);
        if (lb::count_next_stacks(state_->stacks, source_->facts) > 2 * lb::MAX_STACKS) {
            is_small = false;
            break;
        }
    }
    state_->stacks = before;
    return is_small;
}

bool lb_grammar::accept_piece(llama_token token, const std::string & piece) {
    if (!stays_small(piece)) {
        throw lb::failure(LB_ERROR, "the grammar is too ambiguous: more than 20,000 ways to go on");
    }
    const auto stacks  = state_->stacks;
    const auto partial = state_->partial_utf8;
    try {
        llama_grammar_accept_token(*state_, token, piece);
        return true;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &) {
        state_->stacks       = stacks;
        state_->partial_utf8 = partial;
        return false;
    }
}

// Trying a token against an ambiguous grammar may take time exponential in the token's length, and cannot be
// interrupted. So shorter tokens first, and when the time is up the longer ones are refused.
void lb_grammar::apply(llama_token_data_array * candidates) const {
    if (is_waiting_) {
        return;
    }
    if (candidates->size <= SMALL_APPLY) {
        llama_grammar_apply_impl(*state_, candidates);
        return;
    }
    std::vector<std::vector<size_t>> by_length(MAX_LENGTH + 1);
    for (size_t i = 0; i < candidates->size; i++) {
        const char * text = llama_vocab_get_text(vocab_, candidates->data[i].id);
        by_length[std::min(std::strlen(text), MAX_LENGTH)].push_back(i);
    }
    std::vector<llama_token_data> some;
    const auto                    deadline = std::chrono::steady_clock::now() + APPLY_TIME;
    for (const auto & indices : by_length) {
        const bool is_late = std::chrono::steady_clock::now() > deadline;
        some.clear();
        for (const size_t i : indices) {
            some.push_back(candidates->data[i]);
        }
        llama_token_data_array part{ some.data(), some.size(), -1, false };
        if (!is_late && !some.empty()) {
            llama_grammar_apply_impl(*state_, &part);
        }
        for (size_t k = 0; k < indices.size(); k++) {
            candidates->data[indices[k]].logit = is_late ? -INFINITY : some[k].logit;
        }
    }
}

lb_grammar * lb_grammar_init(const llama_vocab * vocab, const char * spec_json) {
    return lb::guard_pointer([&] {
        if (vocab == nullptr || llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
            lb::invalid("grammar: the model has no vocabulary");
        }
        std::unique_ptr<lb_grammar> grammar;
        lb::run_with_stack(PARSE_STACK, [&] {
            const auto source = read_spec(vocab, lb::parse_json(spec_json, "the grammar's description"));
            grammar           = std::make_unique<lb_grammar>(vocab, source);
        });
        return grammar.release();
    });
}

lb_grammar * lb_grammar_clone(const lb_grammar * grammar) {
    return lb::guard_pointer([&] { return new lb_grammar(*grammar); });
}

void lb_grammar_free(lb_grammar * grammar) { delete grammar; }

int32_t lb_grammar_reset(lb_grammar * grammar) {
    return lb::guard_status([&] {
        grammar->reset();
        return LB_OK;
    });
}

int32_t lb_grammar_check(const lb_grammar * grammar, llama_token token) {
    return lb::guard_status([&] {
        grammar->expect_token(token);
        return grammar->allows(token) ? LB_OK : lb::refuse_token(token);
    });
}

int32_t lb_grammar_accept(lb_grammar * grammar, llama_token token) {
    return lb::guard_status([&] {
        grammar->expect_token(token);
        return grammar->accept(token) ? LB_OK : lb::refuse_token(token);
    });
}

int32_t lb_grammar_apply(const lb_grammar * grammar, llama_token_data_array * candidates) {
    return lb::guard_status([&] {
        for (size_t i = 0; i < candidates->size; i++) {
            grammar->expect_token(candidates->data[i].id);
        }
        grammar->apply(candidates);
        return LB_OK;
    });
}

bool lb_grammar_is_waiting(const lb_grammar * grammar) { return grammar->is_waiting(); }

bool lb_grammar_is_complete(const lb_grammar * grammar) { return grammar->is_complete(); }
