// The attention kernel for CPUs with AVX2, FMA and F16C; CMakeLists.txt gives this file the flags.

#define LB_ATTENTION_KERNEL attention_avx2
#include "attention_kernel.h"
