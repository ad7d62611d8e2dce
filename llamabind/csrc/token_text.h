// Tokens as the characters that a grammar sees, and a whole vocabulary of them in alphabetical order.

#pragma once

#include "internal.h"

#include "llama-grammar.h"

#include <memory>
#include <string>
#include <vector>

namespace lb {

// LB_INVALID for an id that the vocabulary does not have: llama.cpp would read beyond its tables.
void expect_token(const llama_vocab * vocab, llama_token token);

// The piece of a token as llama.cpp's grammars see it: special tokens as text.
std::string piece_of(const llama_vocab * vocab, llama_token token);

// The characters of a piece that follows `before` (the bytes so far of an unfinished character), and the unfinished
// one at its end. A tail with n_remain < 0: the bytes are no UTF-8.
struct token_text {
    std::vector<uint32_t> characters;
    llama_partial_utf8    tail{ 0, 0 };

    token_text(const std::string & piece, llama_partial_utf8 before);
};

// The tokens of a vocabulary that a grammar can allow, in an order that lets what begins alike be tried once.
class vocabulary {
  public:
    struct entry {
        llama_token        id;
        uint32_t           begin;     // of its characters in characters()
        uint32_t           n_characters;
        uint32_t           n_shared;  // characters at its beginning that are those of the entry before
        llama_partial_utf8 tail;
    };

    struct fragment {
        llama_token id;
        std::string piece;
    };

    // The table of this vocabulary; the last few are kept, since making one takes some 100 ms.
    static std::shared_ptr<const vocabulary> of(const llama_vocab * vocab);

    explicit vocabulary(const llama_vocab * vocab);

    const std::vector<entry> &    entries() const { return entries_; }
    const std::vector<uint32_t> & characters() const { return characters_; }

    // Whether there is anything of the token that a grammar could see. False for what ends a generation.
    bool has_text(llama_token token) const {
        return static_cast<size_t>(token) < has_text_.size() && has_text_[static_cast<size_t>(token)] != 0;
    }

    // Tokens that begin in the middle of a character: they can only follow an unfinished one.
    const std::vector<fragment> & fragments() const { return fragments_; }

  private:
    std::vector<entry>    entries_;
    std::vector<uint32_t> characters_;
    std::vector<fragment> fragments_;
    std::vector<char>     has_text_;  // by token id
};

}  // namespace lb
