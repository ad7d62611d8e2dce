// The tokens that a sampler chain chooses from, collected from the logits of a large vocabulary.

#pragma once

#include "internal.h"

#include <vector>

namespace lb {

using candidates = std::vector<llama_token_data>;

// A buffer has 12 bytes for each token of a vocabulary of up to 260k. Each sampling thread takes one, and gives it back for
// the next call; giving may throw std::bad_alloc, which frees the buffer.
candidates take_candidates();
void       give_candidates(candidates && buffer);

// All tokens. Refuses NaN and infinity with LB_ERROR: the samplers sort and sum the logits.
void fill(candidates & buffer, const float * logits, int32_t n_vocab);

// At least the `n_best` largest logits. Building and sorting an entry for each token of a large vocabulary takes longer
// than all samplers together; comparing blocks of floats takes a few microseconds. Refuses NaN and infinity.
void fill_best(candidates & buffer, const float * logits, int32_t n_vocab, size_t n_best);

// At least the logits that min-p keeps, whichever `n_excluded` tokens are excluded before it. An entry for each token of a
// large vocabulary takes ten times as long. Refuses NaN and infinity.
void fill_min_p(candidates & buffer, const float * logits, int32_t n_vocab, float log_p, int32_t n_excluded);

// Removes tokens that cannot be chosen: some samplers would compute 0 * inf with -INFINITY.
void drop_impossible(candidates & buffer);

}  // namespace lb
