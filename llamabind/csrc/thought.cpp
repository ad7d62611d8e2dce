// Thoughts in an answer: where they begin and end, by the text, and the budget of tokens that each has.

#include "thought.h"

#include "common.h"

#include <algorithm>

namespace {

constexpr size_t MAX_TAG     = 256;
constexpr size_t MAX_ENDS    = 8;
constexpr size_t MAX_MESSAGE = 4096;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Whether the text ends within a character.
bool is_cut(const std::string & text) {
    size_t n_continuations = 0;
    for (size_t i = text.size(); i > 0 && n_continuations < 4; i--) {
        const auto byte = static_cast<unsigned char>(text[i - 1]);
        if ((byte >> 6) != 2) {
            const size_t n_wanted = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : byte >= 0xC0 ? 1 : 0;
            return n_continuations < n_wanted;
        }
        n_continuations++;
    }
    return false;
}

std::string read_tag(const std::string & tag, const char * name) {
    if (tag.empty() || tag.size() > MAX_TAG) {
        lb::invalid(std::string(name) + ": must be a text of 1 to 256 bytes");
    }
    return tag;
}

void read_ends(const lb::json & spec, std::vector<std::string> & ends) {
    const bool is_list = spec.contains("ends") && spec.at("ends").is_array();
    if (!is_list || spec.at("ends").empty() || spec.at("ends").size() > MAX_ENDS) {
        lb::invalid("ends: must be an array of 1 to 8 strings");
    }
    for (const auto & tag : spec.at("ends")) {
        ends.push_back(read_tag(tag.is_string() ? tag.get<std::string>() : "", "ends"));
    }
}

// The number of bytes at the end of `text` that the beginning of a tag may be.
size_t open_bytes(const std::string & text, size_t longest_tag) { return std::min(text.size(), longest_tag - 1); }

}  // namespace

namespace lb {

std::shared_ptr<const thought_tags> read_thought(const llama_vocab * vocab, const json & spec) {
    if (!spec.is_object()) {
        invalid("the thought's description: must be an object");
    }
    auto tags   = std::make_shared<thought_tags>();
    tags->start = read_tag(get_string(spec, "start"), "start");
    read_ends(spec, tags->ends);
    tags->prompt_end   = get_string(spec, "prompt_end");
    const auto message = get_string(spec, "message");
    if (message.size() > MAX_MESSAGE) {
        invalid("message: must be a text of at most 4096 bytes");
    }
    if (spec.contains("budget") && spec.at("budget").is_number_integer()) {
        tags->budget = std::max(-1, spec.at("budget").get<int32_t>());
    }
    // The message is people's text, where control tokens are only text; the tag is the template's.
    tags->forced   = common_tokenize(vocab, message, false, false);
    const auto tag = common_tokenize(vocab, tags->ends.front(), false, true);
    tags->forced.insert(tags->forced.end(), tag.begin(), tag.end());
    return tags;
}

thought::thought(const llama_vocab * vocab, std::shared_ptr<const thought_tags> tags) :
    vocab_(vocab), tags_(std::move(tags)) {
    reset();
}

// Whether the prompt leaves a thought open: its last tag is one that begins it.
void thought::reset() {
    const auto & text  = tags_->prompt_end;
    const size_t start = text.rfind(tags_->start);
    begin();
    is_inside_ = start != std::string::npos &&
                 find_end(text.substr(start + tags_->start.size())).begin == std::string::npos;
    is_blank_  = true;
}

void thought::begin() {
    is_inside_ = true;
    is_blank_  = false;
    may_force_ = true;
    n_tokens_  = 0;
    n_forced_  = 0;
    forget(0);
}

void thought::forget(size_t n_kept) {
    const size_t n_dropped = recent_.size() - std::min(n_kept, recent_.size());
    size_t       n         = 0;
    while (n < recent_tokens_.size() &&
           (n + 1 < recent_tokens_.size() ? recent_tokens_[n + 1].begin : recent_.size()) <= n_dropped) {
        n++;
    }
    recent_tokens_.erase(recent_tokens_.begin(), recent_tokens_.begin() + static_cast<std::ptrdiff_t>(n));
    for (auto & entry : recent_tokens_) {
        entry.begin = std::max(entry.begin, n_dropped) - n_dropped;
    }
    recent_.erase(0, n_dropped);
}

void thought::push(llama_token token, const std::string & piece) {
    recent_tokens_.push_back({ token, recent_.size() });
    recent_ += piece;
}

// The tag that ends first; of several that end there the longest.
thought::place thought::find_end(const std::string & text) const {
    place found;
    for (const auto & tag : tags_->ends) {
        const size_t begin = text.find(tag);
        if (begin == std::string::npos) {
            continue;
        }
        const size_t end = begin + tag.size();
        if (found.end == std::string::npos || end < found.end || (end == found.end && begin < found.begin)) {
            found = { begin, end };
        }
    }
    return found;
}

bool thought::is_blank_to(size_t end) const {
    return is_blank_ && std::all_of(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(end), is_space);
}

bool thought::is_forcing() const {
    if (!is_inside_ || !may_force_ || tags_->budget < 0) {
        return false;
    }
    return n_forced_ > 0 || (n_tokens_ >= tags_->budget && !is_cut(recent_));
}

llama_token thought::forced() const {
    return is_forcing() && n_forced_ < tags_->forced.size() ? tags_->forced[n_forced_] : LLAMA_TOKEN_NULL;
}

std::string thought::rest_behind(llama_token token) const {
    const auto text = recent_ + piece_of(vocab_, token);
    const auto tag  = find_end(text);
    return tag.end == std::string::npos ? "" : text.substr(tag.end);
}

void thought::follow(llama_token token, bool may_begin) {
    const auto piece = piece_of(vocab_, token);
    push(token, piece);
    const size_t start = recent_.find(tags_->start);
    if (start != std::string::npos && (may_begin || is_blank_to(start))) {
        const auto rest = recent_.substr(start + tags_->start.size());
        begin();
        push(token, rest);
        return;
    }
    const size_t n_kept = open_bytes(recent_, tags_->start.size());
    is_blank_           = is_blank_to(recent_.size() - n_kept);
    forget(n_kept);
}

std::unique_ptr<thought_end> thought::think(llama_token token) {
    const bool is_forced = token == forced();
    n_tokens_++;
    push(token, piece_of(vocab_, token));
    if (is_forced && ++n_forced_ < tags_->forced.size()) {
        return nullptr;  // the message may be about tags
    }
    if (is_forced) {
        return end({ recent_.size() - std::min(recent_.size(), tags_->ends.front().size()), recent_.size() });
    }
    const auto tag = find_end(recent_);
    if (tag.end != std::string::npos) {
        return end(tag);
    }
    size_t longest = 4;  // bytes of a character
    for (const auto & one : tags_->ends) {
        longest = std::max(longest, one.size());
    }
    forget(open_bytes(recent_, longest));
    return nullptr;
}

std::unique_ptr<thought_end> thought::end(place tag) {
    auto result = std::make_unique<thought_end>();
    for (size_t i = 0; i < recent_tokens_.size(); i++) {
        const size_t end = i + 1 < recent_tokens_.size() ? recent_tokens_[i + 1].begin : recent_.size();
        if (end > tag.begin) {
            result->tokens.push_back(recent_tokens_[i].token);
        }
    }
    result->rest = recent_.substr(tag.end);
    is_inside_   = false;
    n_forced_    = 0;
    forget(0);
    return result;
}

}  // namespace lb
