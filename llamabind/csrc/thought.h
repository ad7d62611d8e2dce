// Follows an answer into its thoughts and out of them, and ends one that takes too long.

#pragma once

#include "token_text.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lb {

// What a thought begins and ends with; read once, shared by clones.
struct thought_tags {
    std::string              start;
    std::vector<std::string> ends;    // the first one is forced
    std::vector<llama_token> forced;  // a message, and that tag
    int32_t                  budget = -1;  // tokens of one thought; -1 is no limit
    std::string              prompt_end;
};

// {"start", "ends", "budget", "message", "prompt_end"}; LB_INVALID for what is malformed.
std::shared_ptr<const thought_tags> read_thought(const llama_vocab * vocab, const json & spec);

// The end of a thought: the tokens that its tag lies in, and what the last of them says behind it.
struct thought_end {
    std::vector<llama_token> tokens;
    std::string              rest;
};

// llama.cpp's reasoning budget sampler (common/reasoning-budget.h) compares token ids; tags are found in the text here,
// however a model writes them.
class thought {
  public:
    thought(const llama_vocab * vocab, std::shared_ptr<const thought_tags> tags);

    // Back to the end of the prompt.
    void reset();

    bool is_inside() const { return is_inside_; }

    // The token that must come next, or LLAMA_TOKEN_NULL.
    llama_token forced() const;

    // Let this thought go on for as long as it likes: its end does not fit where it is.
    void give_up() { may_force_ = false; }

    // What follows the thought's end in the token that ends it; "" for a token that does not.
    std::string rest_behind(llama_token token) const;

    // Take a token outside: `may_begin` tells whether a thought may begin here; one always may at the very beginning.
    void follow(llama_token token, bool may_begin);

    // Take a token inside; the end if this was its last.
    std::unique_ptr<thought_end> think(llama_token token);

  private:
    struct recent_token {
        llama_token token;
        size_t      begin;  // in recent_
    };

    struct place {
        size_t begin = std::string::npos;
        size_t end   = std::string::npos;
    };

    const llama_vocab *                 vocab_;
    std::shared_ptr<const thought_tags> tags_;
    bool                                is_inside_ = false;
    bool                                is_blank_  = true;  // nothing but spaces was said before recent_
    bool                                may_force_ = true;
    int32_t                             n_tokens_  = 0;     // of this thought
    size_t                              n_forced_  = 0;
    std::string                         recent_;            // text, as long as a tag may still begin in it
    std::vector<recent_token>           recent_tokens_;

    bool                         is_forcing() const;
    bool                         is_blank_to(size_t end) const;
    void                         push(llama_token token, const std::string & piece);
    place                        find_end(const std::string & text) const;
    void                         begin();
    std::unique_ptr<thought_end> end(place tag);
    void                         forget(size_t n_kept);
};

}  // namespace lb
