// Products for CPUs with AVX2, FMA, F16C and AVX-VNNI; CMakeLists.txt gives this file the flags.

#define LB_PANEL_KERNELS panels_avxvnni
#include "panel_kernel.h"
