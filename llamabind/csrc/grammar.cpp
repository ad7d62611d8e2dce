// llama.cpp aborts on an end-of-generation token in an incomplete grammar and throws on a token that does not fit. Here a
// token is tested first, and an exception restores the state before it.

#include "grammar.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace {

constexpr size_t RESET_STACK = 64 * lb::MiB;
constexpr size_t FEW_TOKENS  = 64;  // up to this many candidates are tested one by one; for more the whole vocabulary is marked

const char SPACES[] = " \t\r\n";

bool is_token_rule(const llama_grammar_stack & stack) {
    return !stack.empty() &&
           (stack.back()->type == LLAMA_GRETYPE_TOKEN || stack.back()->type == LLAMA_GRETYPE_TOKEN_NOT);
}

// True if the token rule on top of the stack accepts the token.
bool takes_token(const llama_grammar_stack & stack, llama_token token) {
    return (stack.back()->value == static_cast<uint32_t>(token)) == (stack.back()->type == LLAMA_GRETYPE_TOKEN);
}

}  // namespace

int32_t lb::refuse_token(llama_token token) {
    return set_error(LB_TOKEN_REFUSED, "the grammar does not allow token " + std::to_string(token) + " here");
}

lb_grammar::lb_grammar(const llama_vocab * vocab, std::shared_ptr<const lb::grammar_source> source) :
    vocab_(vocab), source_(std::move(source)), tokens_(lb::vocabulary::of(vocab)) {
    restart();
}

lb_grammar::lb_grammar(const lb_grammar & other) :
    vocab_(other.vocab_),
    source_(other.source_),
    state_(llama_grammar_clone_impl(*other.state_)),
    walk_(std::make_unique<lb::grammar_walk>(state_->rules, *other.walk_)),
    tokens_(other.tokens_),
    is_waiting_(other.is_waiting_),
    is_whole_(other.is_whole_),
    waiting_text_(other.waiting_text_),
    waiting_tokens_(other.waiting_tokens_) {}

void lb_grammar::reset() {
    lb::run_with_stack(RESET_STACK, [&] { restart(); });
}

// NOTE: llama.cpp looks for left recursion with a recursive function, so this needs a large stack.
void lb_grammar::restart() {
    auto       rules = source_->parser.c_rules();
    const auto root  = source_->parser.symbol_ids.at(source_->root);
    std::unique_ptr<llama_grammar, lb::grammar_deleter> state(
        llama_grammar_init_impl(vocab_, rules.data(), rules.size(), root));
    if (!state) {
        lb::invalid("grammar: a rule is left recursive, directly or through rules that may be empty");
    }
    walk_       = std::make_unique<lb::grammar_walk>(state->rules);
    start_      = lb::grammar_walk::DEAD;
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

bool lb_grammar::is_complete() const { return is_waiting_ || can_end(); }

bool lb_grammar::can_end() const {
    const bool is_unfinished = state_->partial_utf8.n_remain > 0;
    return !is_unfinished && std::any_of(state_->stacks.begin(), state_->stacks.end(),
                                         [](const llama_grammar_stack & stack) { return stack.empty(); });
}

bool lb_grammar::matches_token_rule(llama_token token) const {
    return std::any_of(state_->stacks.begin(), state_->stacks.end(), [token](const llama_grammar_stack & stack) {
        return is_token_rule(stack) && takes_token(stack, token);
    });
}

// The walk accepts characters only, so it begins without stacks that are complete or wait for a token rule.
lb::grammar_walk::state lb_grammar::begin_walk() const {
    if (start_ == lb::grammar_walk::DEAD) {
        llama_grammar_stacks stacks;
        std::remove_copy_if(state_->stacks.begin(), state_->stacks.end(), std::back_inserter(stacks),
                            [](const llama_grammar_stack & stack) { return stack.empty() || is_token_rule(stack); });
        start_ = walk_->begin(std::move(stacks));
    }
    return start_;
}

bool lb_grammar::allows(llama_token token) const {
    if (is_waiting_) {
        return true;
    }
    if (llama_vocab_is_eog(vocab_, token)) {
        return can_end();
    }
    const auto piece = lb::piece_of(vocab_, token);
    if (piece.empty() || piece[0] == 0) {
        return false;
    }
    const lb::token_text text(piece, state_->partial_utf8);
    return matches_token_rule(token) ||
           (text.tail.n_remain >= 0 && walk_->follow(begin_walk(), text) != lb::grammar_walk::DEAD);
}

bool lb_grammar::accept(llama_token token) {
    walk_->earn();
    if (is_waiting_) {
        accept_waiting(token);
        return true;
    }
    if (llama_vocab_is_eog(vocab_, token)) {
        return can_end();
    }
    const auto piece = lb::piece_of(vocab_, token);
    return !piece.empty() && piece[0] != 0 && accept_piece(token, piece);
}

bool lb_grammar::allows_text(const std::string & text) const {
    const auto begin = text.find_first_not_of(SPACES);
    if (begin == std::string::npos) {
        return true;
    }
    const lb::token_text characters(text.substr(begin), state_->partial_utf8);
    return characters.tail.n_remain >= 0 && walk_->follow(begin_walk(), characters) != lb::grammar_walk::DEAD;
}

bool lb_grammar::accept_text(const std::string & text) {
    const auto begin = text.find_first_not_of(SPACES);
    return begin == std::string::npos || accept_piece(LLAMA_TOKEN_NULL, text.substr(begin));
}

// A trigger is ignored if the text that contains it does not fit the grammar ("<functions" for "<function"); llama.cpp
// would throw.
void lb_grammar::accept_waiting(llama_token token) {
    const auto piece = lb::piece_of(vocab_, token);
    if (source_->triggers.has_token(token) && accept_piece(token, piece)) {
        stop_waiting();
        return;
    }
    waiting_tokens_.push_back({ token, waiting_text_.size() });
    waiting_text_ += piece;
    const size_t start = source_->triggers.find(waiting_text_, piece.size(), is_whole_);
    if (start != std::string::npos && accept_from(start)) {
        stop_waiting();
    } else if (start != std::string::npos) {
        waiting_tokens_.clear();
        waiting_text_.clear();
        is_whole_ = false;
    } else {
        forget_old_text();
    }
}

void lb_grammar::stop_waiting() {
    is_waiting_ = false;
    waiting_text_.clear();
    waiting_tokens_.clear();
}

// Accepts the text from `start` on in pieces, one for each token; the first may be only the end of its token's text.
bool lb_grammar::accept_from(size_t start) {
    const auto stacks  = state_->stacks;
    const auto partial = state_->partial_utf8;
    try {
        for (size_t i = 0; i < waiting_tokens_.size(); i++) {
            const size_t end   = i + 1 < waiting_tokens_.size() ? waiting_tokens_[i + 1].begin : waiting_text_.size();
            const size_t begin = std::max(start, waiting_tokens_[i].begin);
            if (begin < end && !accept_piece(waiting_tokens_[i].token, waiting_text_.substr(begin, end - begin))) {
                set_stacks(stacks, partial);
                return false;
            }
        }
    } catch (...) {
        set_stacks(stacks, partial);
        throw;
    }
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

bool lb_grammar::accept_piece(llama_token token, const std::string & piece) {
    const lb::token_text                           text(piece, state_->partial_utf8);
    std::vector<const llama_grammar_stack *> takers;
    for (const auto & stack : state_->stacks) {
        if (is_token_rule(stack) && takes_token(stack, token)) {
            takers.push_back(&stack);
        }
    }
    auto       after = walk_->after(takers);
    const auto end   = text.tail.n_remain < 0 ? lb::grammar_walk::DEAD : walk_->follow(begin_walk(), text);
    if (end != lb::grammar_walk::DEAD) {
        const auto & stacks = walk_->stacks_of(end);
        after.insert(after.end(), stacks.begin(), stacks.end());
    }
    if (after.empty()) {
        return false;
    }
    std::sort(after.begin(), after.end());
    after.erase(std::unique(after.begin(), after.end()), after.end());
    set_stacks(std::move(after), text.tail);
    return true;
}

void lb_grammar::set_stacks(llama_grammar_stacks stacks, llama_partial_utf8 partial) {
    state_->stacks       = std::move(stacks);
    state_->partial_utf8 = partial;
    start_               = lb::grammar_walk::DEAD;
}

// Marks the tokens that a token rule allows.
void lb_grammar::mark_token_rules(std::vector<char> & is_marked) const {
    std::vector<llama_token> excluded;  // by rules that allow every other token
    for (const auto & stack : state_->stacks) {
        if (!is_token_rule(stack)) {
            continue;
        }
        const auto token = static_cast<llama_token>(stack.back()->value);
        if (stack.back()->type == LLAMA_GRETYPE_TOKEN_NOT) {
            excluded.push_back(token);
        } else if (tokens_->has_text(token)) {
            is_marked[static_cast<size_t>(token)] = 1;
        }
    }
    if (excluded.empty()) {
        return;
    }
    const bool is_single = std::all_of(excluded.begin(), excluded.end(),
                                    [&](llama_token token) { return token == excluded[0]; });
    for (llama_token token = 0; token < static_cast<llama_token>(is_marked.size()); token++) {
        if (tokens_->has_text(token) && !(is_single && token == excluded[0])) {
            is_marked[static_cast<size_t>(token)] = 1;
        }
    }
}

void lb_grammar::apply(llama_token_data_array * candidates) const {
    if (is_waiting_) {
        return;
    }
    const auto refuse_unless = [candidates](auto && is_allowed) {
        for (size_t i = 0; i < candidates->size; i++) {
            if (!is_allowed(candidates->data[i].id)) {
                candidates->data[i].logit = -INFINITY;
            }
        }
    };
    if (candidates->size <= FEW_TOKENS) {
        refuse_unless([this](llama_token token) { return allows(token); });
        return;
    }
    std::vector<char> is_marked(static_cast<size_t>(llama_vocab_n_tokens(vocab_)), 0);
    lb::mark_allowed(*walk_, begin_walk(), state_->partial_utf8, *tokens_, is_marked);
    mark_token_rules(is_marked);
    const bool is_end_allowed = can_end();
    refuse_unless([&](llama_token token) {
        return llama_vocab_is_eog(vocab_, token) ? is_end_allowed : is_marked[static_cast<size_t>(token)] != 0;
    });
}
