// The characters of a token as a grammar reads them, and all tokens of a vocabulary, sorted by their characters.

#pragma once

#include "internal.h"

#include "llama-grammar.h"

#include <memory>
#include <string>
#include <vector>

namespace lb {

// LB_INVALID for an id outside the vocabulary: llama.cpp would read beyond its tables.
void expect_token(const llama_vocab * vocab, llama_token token);

// The text of a token as llama.cpp's grammars read it: with the text of special tokens.
std::string piece_of(const llama_vocab * vocab, llama_token token);

// The characters of a piece after `before`, the first bytes of an unfinished character, and the unfinished character at its
// end. A tail with n_remain < 0 marks invalid UTF-8.
struct token_text {
    std::vector<uint32_t> characters;
    llama_partial_utf8    tail{ 0, 0 };

    token_text(const std::string & piece, llama_partial_utf8 before);
};

// The tokens of a vocabulary that a grammar can allow, sorted so that a common beginning is tried only once.
class vocabulary {
  public:
    struct entry {
        llama_token        id;
        uint32_t           begin;     // of its characters in characters()
        uint32_t           n_characters;
        uint32_t           n_shared;  // characters at its beginning that equal those of the entry before
        llama_partial_utf8 tail;
    };

    struct fragment {
        llama_token id;
        std::string piece;
    };

    // The table of this vocabulary. The last two are cached, since making one takes about 100 ms.
    static std::shared_ptr<const vocabulary> of(const llama_vocab * vocab);

    explicit vocabulary(const llama_vocab * vocab);

    const std::vector<entry> &    entries() const { return entries_; }
    const std::vector<uint32_t> & characters() const { return characters_; }

    // False for tokens without text and for those that end a generation.
    bool has_text(llama_token token) const {
        return static_cast<size_t>(token) < has_text_.size() && has_text_[static_cast<size_t>(token)] != 0;
    }

    // Tokens that begin in the middle of a character, so they can only follow an unfinished one.
    const std::vector<fragment> & fragments() const { return fragments_; }

  private:
    std::vector<entry>    entries_;
    std::vector<uint32_t> characters_;
    std::vector<fragment> fragments_;
    std::vector<char>     has_text_;  // by token id
};

}  // namespace lb
