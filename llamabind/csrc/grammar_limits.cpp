// Limits on GBNF text, checked before llama.cpp parses it.
//
// llama_grammar_parser recurses for each "(", expands x{m,n} into copies of x, and computes n - m unsigned, so x{5,3}
// makes rules until memory runs out. Its limit of 2,000 repetitions counts rules and ignores the size of x.

#include "grammar_source.h"

#include <algorithm>

namespace {

constexpr size_t MAX_TEXT       = 4 * lb::MiB;
constexpr int    MAX_DEPTH      = 200;
constexpr double MAX_ELEMENTS   = 500000;
constexpr size_t MAX_DIGITS     = 9;
constexpr size_t RULE_OVERHEAD  = 3;  // elements that each copy adds: reference, alternative, end

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || is_digit(c);
}

class scanner {
  public:
    explicit scanner(const std::string & text) : text_(text) {}

    void scan() {
        while (pos_ < text_.size()) {
            step();
        }
    }

  private:
    const std::string & text_;
    size_t              pos_        = 0;
    int                 depth_      = 0;
    double              atom_       = 0;  // elements of the item before pos_, which a repetition copies
    double              n_elements_ = 0;

    char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

    void step() {
        const char c = text_[pos_];
        if (c == '"' || c == '[') {
            skip_quoted(c == '"' ? '"' : ']');
        } else if (c == '<') {
            pos_ = std::min(text_.find('>', pos_), text_.size() - 1) + 1;
            add_atom(1);
        } else if (c == '#') {
            pos_ = std::min(text_.find_first_of("\r\n", pos_), text_.size());
        } else if (c == '(' || c == ')') {
            nest(c);
        } else if (c == '{') {
            repeat_counted();
        } else if (c == '*' || c == '+' || c == '?') {
            pos_++;
            add_repetition(1);
        } else if (is_word(c)) {
            while (is_word(at(pos_))) {
                pos_++;
            }
            add_atom(1);
        } else {
            pos_++;
            if (c == '.') {
                add_atom(1);
            }
        }
    }

    void nest(char c) {
        pos_++;
        depth_ += c == '(' ? 1 : -1;
        if (depth_ > MAX_DEPTH) {
            lb::invalid("grammar: groups nested deeper than " + std::to_string(MAX_DEPTH) + " levels");
        }
        add_atom(1);
    }

    void skip_quoted(char end) {
        const size_t begin = ++pos_;
        while (pos_ < text_.size() && text_[pos_] != end) {
            pos_ += text_[pos_] == '\\' ? 2 : 1;
        }
        pos_ = std::min(pos_, text_.size());
        add_atom(static_cast<double>(pos_ - begin));
        pos_++;
    }

    void skip_space() {
        while (at(pos_) == ' ' || at(pos_) == '\t' || at(pos_) == '\r' || at(pos_) == '\n') {
            pos_++;
        }
    }

    // The number at pos_, or `fallback` if there are no digits.
    double read_number(double fallback) {
        skip_space();
        const size_t begin = pos_;
        while (is_digit(at(pos_))) {
            pos_++;
        }
        if (pos_ - begin > MAX_DIGITS) {
            lb::invalid("grammar: a repetition count of more than 9 digits");
        }
        return pos_ == begin ? fallback : std::stod(text_.substr(begin, pos_ - begin));
    }

    void repeat_counted() {
        pos_++;
        const double min_times = read_number(0);
        double       max_times = min_times;
        skip_space();
        if (at(pos_) == ',') {
            pos_++;
            max_times = read_number(min_times);
        }
        if (max_times < min_times) {
            lb::invalid("grammar: a repetition {m,n} with n less than m");
        }
        add_repetition(max_times);
    }

    void add_atom(double n) {
        atom_ = n;
        add_elements(n);
    }

    void add_repetition(double times) {
        add_elements((atom_ + RULE_OVERHEAD) * std::max(1.0, times));
        atom_ = atom_ * std::max(1.0, times) + 1;
    }

    void add_elements(double n) {
        n_elements_ += n;
        if (n_elements_ > MAX_ELEMENTS) {
            lb::invalid("grammar: with its repetitions written out it has more than 500,000 elements");
        }
    }
};

}  // namespace

namespace lb {

void check_grammar_text(const std::string & text) {
    if (text.size() > MAX_TEXT) {
        invalid("grammar: larger than 4 MiB");
    }
    if (text.find('\0') != std::string::npos) {
        invalid("grammar: contains a NUL character");
    }
    scanner(text).scan();
}

}  // namespace lb
