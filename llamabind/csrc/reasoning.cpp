// Finds the reasoning in an answer by its tags, and ends it when its token budget is used up.

#include "reasoning.h"

#include "common.h"

#include <algorithm>

namespace {

constexpr size_t MAX_TAG     = 256;
constexpr size_t MAX_ENDS    = 8;
constexpr size_t MAX_MESSAGE = 4096;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Whether the text ends in the middle of a UTF-8 character.
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

// The length of the text's end in which a tag may have begun that is not complete yet.
size_t n_open_bytes(const std::string & text, size_t longest_tag) { return std::min(text.size(), longest_tag - 1); }

}  // namespace

namespace lb {

std::shared_ptr<const reasoning_tags> read_reasoning_tags(const llama_vocab * vocab, const json & spec) {
    if (!spec.is_object()) {
        invalid("reasoning: must be an object");
    }
    auto tags   = std::make_shared<reasoning_tags>();
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
    // In the message, which a user wrote, control tokens are plain text; in the tag, which is the template's, they are not.
    tags->forced   = common_tokenize(vocab, message, false, false);
    const auto tag = common_tokenize(vocab, tags->ends.front(), false, true);
    tags->forced.insert(tags->forced.end(), tag.begin(), tag.end());
    return tags;
}

reasoning_tracker::reasoning_tracker(const llama_vocab * vocab, std::shared_ptr<const reasoning_tags> tags) :
    vocab_(vocab), tags_(std::move(tags)) {
    reset();
}

// The answer begins inside reasoning if the prompt's last tag is a start tag.
void reasoning_tracker::reset() {
    const auto & text  = tags_->prompt_end;
    const size_t start = text.rfind(tags_->start);
    begin();
    is_inside_ = start != std::string::npos &&
                 find_end_tag(text.substr(start + tags_->start.size())).begin == std::string::npos;
    is_blank_  = true;
}

void reasoning_tracker::begin() {
    is_inside_ = true;
    is_blank_  = false;
    may_force_ = true;
    n_tokens_  = 0;
    n_forced_  = 0;
    keep_last(0);
}

void reasoning_tracker::keep_last(size_t n_bytes) {
    const size_t n_dropped = recent_.size() - std::min(n_bytes, recent_.size());
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

void reasoning_tracker::append(llama_token token, const std::string & piece) {
    recent_tokens_.push_back({ token, recent_.size() });
    recent_ += piece;
}

// The end tag that is complete first; of several that end at the same byte the longest.
reasoning_tracker::span reasoning_tracker::find_end_tag(const std::string & text) const {
    span found;
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

bool reasoning_tracker::is_blank_to(size_t end) const {
    return is_blank_ && std::all_of(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(end), is_space);
}

bool reasoning_tracker::is_forcing() const {
    if (!is_inside_ || !may_force_ || tags_->budget < 0) {
        return false;
    }
    return n_forced_ > 0 || (n_tokens_ >= tags_->budget && !is_cut(recent_));
}

llama_token reasoning_tracker::forced_token() const {
    return is_forcing() && n_forced_ < tags_->forced.size() ? tags_->forced[n_forced_] : LLAMA_TOKEN_NULL;
}

std::string reasoning_tracker::text_after_end(llama_token token) const {
    const auto text = recent_ + piece_of(vocab_, token);
    const auto tag  = find_end_tag(text);
    return tag.end == std::string::npos ? "" : text.substr(tag.end);
}

void reasoning_tracker::accept_outside(llama_token token, bool may_begin) {
    const auto piece = piece_of(vocab_, token);
    append(token, piece);
    const size_t start = recent_.find(tags_->start);
    if (start != std::string::npos && (may_begin || is_blank_to(start))) {
        const auto rest = recent_.substr(start + tags_->start.size());
        begin();
        append(token, rest);
        return;
    }
    const size_t n_kept = n_open_bytes(recent_, tags_->start.size());
    is_blank_           = is_blank_to(recent_.size() - n_kept);
    keep_last(n_kept);
}

std::unique_ptr<reasoning_end> reasoning_tracker::accept_inside(llama_token token) {
    const bool is_forced = token == forced_token();
    n_tokens_++;
    append(token, piece_of(vocab_, token));
    if (is_forced && ++n_forced_ < tags_->forced.size()) {
        return nullptr;  // a tag in the message ends nothing
    }
    if (is_forced) {
        return end({ recent_.size() - std::min(recent_.size(), tags_->ends.front().size()), recent_.size() });
    }
    const auto tag = find_end_tag(recent_);
    if (tag.end != std::string::npos) {
        return end(tag);
    }
    size_t longest = 4;  // bytes, so that is_cut() sees a whole character
    for (const auto & one : tags_->ends) {
        longest = std::max(longest, one.size());
    }
    keep_last(n_open_bytes(recent_, longest));
    return nullptr;
}

std::unique_ptr<reasoning_end> reasoning_tracker::end(span tag) {
    auto result = std::make_unique<reasoning_end>();
    for (size_t i = 0; i < recent_tokens_.size(); i++) {
        const size_t end = i + 1 < recent_tokens_.size() ? recent_tokens_[i + 1].begin : recent_.size();
        if (end > tag.begin) {
            result->tokens.push_back(recent_tokens_[i].token);
        }
    }
    result->text_after = recent_.substr(tag.end);
    is_inside_         = false;
    n_forced_          = 0;
    keep_last(0);
    return result;
}

}  // namespace lb
