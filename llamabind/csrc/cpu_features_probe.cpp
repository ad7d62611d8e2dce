// Compiled, never run: the text in the object file says which instruction sets the flags of this
// compilation allow. Read by vendor/cpu_features.cmake.
//
// A defined macro becomes its value, so a feature that is on reads ":avx2=1", one that is off ":avx2=__AVX2__".
#define LB_TEXT_OF(...) #__VA_ARGS__
#define LB_VALUE_OF(macro) LB_TEXT_OF(macro)

extern const char lb_compiled_for[];
const char lb_compiled_for[] = "LBFEATURES"
#define LB_FEATURE(name, macro, ...) ":needed_" #name "=" LB_VALUE_OF(macro)
#define LB_OPTIONAL(name, macro, ...) ":optional_" #name "=" LB_VALUE_OF(macro)
#include "cpu_features.h"
    ":";
