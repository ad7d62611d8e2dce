// What the kernels need of a CPU and its operating system. False for other processors than x86-64.

#pragma once

namespace lb {

bool has_avx2();     // and FMA and F16C
bool has_avx512();   // F, BW, DQ and VL, and the above
bool has_avx512_vnni();
bool has_avx_vnni();

}  // namespace lb
