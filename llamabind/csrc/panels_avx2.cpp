// Products for CPUs with AVX2, FMA and F16C; CMakeLists.txt gives this file the flags.

#define LB_PANEL_KERNELS panels_avx2
#include "panel_kernel.h"
