// The attention kernel for CPUs with AVX-512 (F, BW, DQ, VL); CMakeLists.txt gives this file the flags.

#define LB_ATTENTION_KERNEL attention_avx512
#include "attention_kernel.h"
