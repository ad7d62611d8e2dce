// Tracks where an answer's reasoning begins and ends, and ends reasoning that exceeds its budget.

#pragma once

#include "token_text.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lb {

// The tags around reasoning, and its budget. Read once, shared by all clones of a sampler.
struct reasoning_tags {
    std::string              start;
    std::vector<std::string> ends;         // the first is written when the budget is used up
    std::vector<llama_token> forced;       // the budget's message and the first of `ends`
    int32_t                  budget = -1;  // tokens of each block of reasoning; -1 is no limit
    std::string              prompt_end;   // the last text of the prompt, which may open a block
};

// Reads {"start", "ends", "budget", "message", "prompt_end"}; LB_INVALID for a malformed member.
std::shared_ptr<const reasoning_tags> read_reasoning_tags(const llama_vocab * vocab, const json & spec);

// The end of a block of reasoning: the tokens that contain its end tag, and the text of the last one after the tag.
struct reasoning_end {
    std::vector<llama_token> tokens;
    std::string              text_after;
};

// llama.cpp's reasoning budget sampler (common/reasoning-budget.h) compares token ids. This one searches the text, so it
// finds a tag however the model splits it into tokens.
class reasoning_tracker {
  public:
    reasoning_tracker(const llama_vocab * vocab, std::shared_ptr<const reasoning_tags> tags);

    // Returns to the state at the end of the prompt.
    void reset();

    // True within reasoning.
    bool is_inside() const { return is_inside_; }

    // The token that the used-up budget forces next, or LLAMA_TOKEN_NULL.
    llama_token forced_token() const;

    // Drops the budget for the current block: the grammar does not allow its end tag here.
    void stop_forcing() { may_force_ = false; }

    // The text that `token` would write after an end tag; "" if it completes none.
    std::string text_after_end(llama_token token) const;

    // Accepts a token outside reasoning. A start tag is recognised if `may_begin`, and always at the answer's beginning.
    void accept_outside(llama_token token, bool may_begin);

    // Accepts a token of the reasoning. Returns the block's end if this token completes it, else nullptr.
    std::unique_ptr<reasoning_end> accept_inside(llama_token token);

  private:
    struct recent_token {
        llama_token token;
        size_t      begin;  // in recent_
    };

    struct span {
        size_t begin = std::string::npos;
        size_t end   = std::string::npos;
    };

    const llama_vocab *                   vocab_;
    std::shared_ptr<const reasoning_tags> tags_;
    bool                                  is_inside_ = false;
    bool                                  is_blank_  = true;  // all text before recent_ is white space
    bool                                  may_force_ = true;
    int32_t                               n_tokens_  = 0;     // of the current block
    size_t                                n_forced_  = 0;     // tokens of `forced` that were accepted
    std::string                           recent_;            // the last text, in which a tag may have begun
    std::vector<recent_token>             recent_tokens_;

    bool                           is_forcing() const;
    bool                           is_blank_to(size_t end) const;
    void                           append(llama_token token, const std::string & piece);
    span                           find_end_tag(const std::string & text) const;
    void                           begin();
    std::unique_ptr<reasoning_end> end(span tag);
    void                           keep_last(size_t n_bytes);
};

}  // namespace lb
