// Products for CPUs with AVX-512 (F, BW, DQ, VL, VNNI); CMakeLists.txt gives this file the flags.

#define LB_PANEL_KERNELS panels_avx512
#include "panel_kernel.h"
