// Limits of the values that a chat template makes in one operation. llama.cpp's Jinja has none: `range(10**12)` and
// `"x" * 10**12` never end, and nothing can stop a native call from outside.

#pragma once

#include "jinja/runtime.h"

namespace lb {

// Has the functions of llama.cpp's Jinja whose results may be large check their arguments first. Changes llama.cpp's tables
// once in a process; call it before any template is parsed, since parsing renders, and threads read the tables without a
// lock.
void limit_functions();

// Checks the operands of `op`, which is "+", "~", "*" or a comparison. Ends the rendering if the result would be too large.
void check_operation(const std::string & op, const jinja::value & left, const jinja::value & right);

// Ends the rendering if a list or an object contains too many values, or is nested too deeply. A list may contain one list
// twice, so that 40 nested lists are 2^40 values for each function that visits them all. Returns the bytes of their texts.
double check_values(const jinja::value & value);

// The bytes of a text, 0 for other values.
double text_bytes(const jinja::value & value);

// About the memory of a text, which llama.cpp keeps in as many parts as it was joined from; 0 for other values.
double text_memory(const jinja::value & value);

}  // namespace lb
