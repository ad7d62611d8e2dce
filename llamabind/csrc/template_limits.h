// Limits of a chat template's source: llama.cpp's parser recurses for each bracket, block and operator, without a limit.

#pragma once

#include <cstdint>

namespace lb {

// Throws LB_INVALID for a source that is too large, or nested so deeply that parsing, rendering or freeing it could overflow
// a stack. Does nothing if source is NULL, or if it cannot be read: llama.cpp's parser says why.
void check_template(const char * source);

// Renders the template as llama.cpp does when it parses one to learn what it supports, but with the limits of a rendering
// (render_limit.h), which must be set. LB_STOPPED if they stop it. Does nothing if source is NULL or cannot be parsed.
void try_template(const char * source);

}  // namespace lb
