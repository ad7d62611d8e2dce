// Triggers of lazy grammars: words, tokens, and regular expressions with bounded cost.
//
// llama.cpp searches the whole text with std::regex after every token. libstdc++'s default matcher recurses for each
// character (a long answer overflows the stack) and backtracks without limit. Here words are searched as plain text.
// Patterns use libstdc++'s polynomial matcher (no backtracking, recursion bounded by the pattern; libc++'s own matcher
// has a step limit and throws) on a bounded part of the text, and the size of their automaton is limited.

#include "grammar_source.h"

#include <algorithm>
#include <cctype>

namespace {

constexpr size_t MAX_PATTERN   = 512;
constexpr double MAX_STATES    = 2000;
constexpr size_t MAX_DEPTH     = 32;
constexpr size_t SEARCH_WINDOW = 128;  // bytes at the text's end in which patterns without ^ are searched

constexpr size_t MAX_TRIGGERS  = 16;

const char SPECIAL[] = "^$.*+?()[]{}|\\";

// The word that a pattern matches if it is only an escaped literal, else "".
std::string literal_of(const std::string & pattern) {
    std::string word;
    for (size_t i = 0; i < pattern.size(); i++) {
        char c = pattern[i];
        if (c == '\\' && i + 1 < pattern.size() && std::ispunct(static_cast<unsigned char>(pattern[i + 1]))) {
            c = pattern[++i];
        } else if (std::string(SPECIAL).find(c) != std::string::npos) {
            return "";
        }
        word += c;
    }
    return word;
}

// Limits the states of a pattern: std::regex makes n copies of x for x{n}.
class pattern_check {
  public:
    pattern_check(const std::string & pattern, const std::string & where) : pattern_(pattern), where_(where) {}

    // Adds this pattern's states to `n_states`, the sum over the patterns before it.
    void check(double & n_states) {
        sizes_.push_back(n_states);
        while (pos_ < pattern_.size()) {
            step();
        }
        n_states = sizes_.front();
    }

  private:
    const std::string & pattern_;
    const std::string & where_;
    size_t              pos_ = 0;
    std::vector<double> sizes_;     // of the open groups
    double              atom_ = 0;  // states of the item before pos_, which a quantifier repeats

    [[noreturn]] void refuse(const std::string & why) const { lb::invalid(where_ + ": " + why); }

    void step() {
        const char c = pattern_[pos_++];
        if (c == '\\') {
            if (pos_ < pattern_.size() && pattern_[pos_] >= '1' && pattern_[pos_] <= '9') {
                refuse("back-references are not supported");
            }
            pos_++;
            add(1);
        } else if (c == '[') {
            while (pos_ < pattern_.size() && pattern_[pos_] != ']') {
                pos_ += pattern_[pos_] == '\\' ? 2 : 1;
            }
            pos_++;
            add(1);
        } else if (c == '(') {
            sizes_.push_back(2);
            if (sizes_.size() > MAX_DEPTH) {
                refuse("groups nested deeper than 32 levels");
            }
        } else if (c == ')' && sizes_.size() > 1) {
            const double size = sizes_.back();
            sizes_.pop_back();
            add(size);
        } else if (c == '{') {
            repeat();
        } else {
            add(1);
        }
    }

    void add(double size) {
        atom_ = size;
        sizes_.back() += size;
        if (sizes_.back() > MAX_STATES) {
            refuse(sizes_.size() == 1 ? "the patterns are too large" : "the pattern is too large");
        }
    }

    void repeat() {
        double times  = 0;
        double number = 0;
        for (; pos_ < pattern_.size() && pattern_[pos_] != '}'; pos_++) {
            const char c = pattern_[pos_];
            number       = c >= '0' && c <= '9' ? std::min(number * 10 + (c - '0'), 1e6) : 0;
            times        = std::max(times, number);
        }
        pos_++;
        add(atom_ * times + 1);
    }
};

std::regex compile(const std::string & pattern, const std::string & where, double & n_states) {
    pattern_check(pattern, where).check(n_states);
    auto flags = std::regex::ECMAScript;
#ifdef __GLIBCXX__
    flags |= std::regex_constants::__polynomial;
#endif
    try {
        return std::regex(pattern, flags);
    } catch (const std::regex_error & e) {
        lb::invalid(where + ": not a valid pattern: " + e.what());
    }
}

std::string anchored(const std::string & pattern) {
    return (pattern.front() == '^' ? "" : "^") + pattern + (pattern.back() == '$' ? "" : "$");
}

// As llama.cpp: the grammar gets the text from the first group that matched a text, else from the whole match.
size_t start_of(const std::match_results<std::string::const_iterator> & match, const std::string & text) {
    for (size_t i = 1; i < match.size(); i++) {
        if (match.length(i) > 0) {
            return match[i].first - text.begin();
        }
    }
    return match[0].first - text.begin();
}

}  // namespace

namespace lb {

void trigger_set::add(const json & item, const std::string & where) {
    if (!item.is_object()) {
        invalid(where + ": must be an object");
    }
    if (triggers_.size() == MAX_TRIGGERS) {
        invalid(where + ": at most 16 triggers are allowed");
    }
    const auto type  = get_string(item, "type");
    const auto value = get_string(item, "value");
    trigger    result;
    if (type != "token" && (value.empty() || value.size() > MAX_PATTERN)) {
        invalid(where + ".value: must be a text of 1 to 512 bytes");
    }
    if (type == "token") {
        if (!item.contains("token") || !item.at("token").is_number_integer()) {
            invalid(where + ".token: must be a token id");
        }
        result.token = item.at("token").get<int32_t>();
    } else if (type == "word") {
        result.word = value;
    } else if (type == "pattern" || type == "pattern_full") {
        const auto pattern = type == "pattern" ? value : anchored(value);
        result.word        = literal_of(pattern);
        if (result.word.empty()) {
            result.pattern     = compile(pattern, where + ".value", n_states_);
            result.is_anchored = pattern.front() == '^';
        }
    } else {
        invalid(where + ".type: must be word, pattern, pattern_full or token");
    }
    triggers_.push_back(std::move(result));
}

bool trigger_set::has_token(llama_token token) const {
    return std::any_of(triggers_.begin(), triggers_.end(), [&](const trigger & t) { return t.token == token; });
}

size_t trigger_set::find_pattern(const trigger & t, const std::string & text, bool is_whole) {
    const size_t n_skipped = t.is_anchored || text.size() <= SEARCH_WINDOW ? 0 : text.size() - SEARCH_WINDOW;
    if (t.is_anchored && !is_whole) {
        return std::string::npos;
    }
    auto flags = std::regex_constants::match_default;
    if (n_skipped > 0) {
        flags |= std::regex_constants::match_prev_avail;
    } else if (!is_whole) {
        flags |= std::regex_constants::match_not_bol;
    }
    std::match_results<std::string::const_iterator> match;
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(n_skipped);
    return std::regex_search(begin, text.end(), match, t.pattern, flags) ? start_of(match, text) : std::string::npos;
}

size_t trigger_set::find(const std::string & text, size_t n_new, bool is_whole) const {
    for (const auto & t : triggers_) {
        size_t start = std::string::npos;
        if (!t.word.empty()) {
            const size_t n_tail = std::min(text.size(), n_new + t.word.size() - 1);
            start               = text.find(t.word, text.size() - n_tail);
        } else if (t.token == LLAMA_TOKEN_NULL) {
            start = find_pattern(t, text, is_whole);
        }
        if (start != std::string::npos) {
            return start;
        }
    }
    return std::string::npos;
}

}  // namespace lb
