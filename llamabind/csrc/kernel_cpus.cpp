#include "kernel_cpus.h"

#if defined(__x86_64__) && !defined(_MSC_VER)

#include <cpuid.h>

// __builtin_cpu_supports is true only if the operating system supports the instructions, too.
bool lb::has_avx2() {
    unsigned   eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool has_f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
    __builtin_cpu_init();
    return has_f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool lb::has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool lb::has_avx512_vnni() {
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

// Not every compiler has a name for this one.
bool lb::has_avx_vnni() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1U << 4)) != 0;
}

#else

bool lb::has_avx2() {
    return false;
}

bool lb::has_avx512() {
    return false;
}

bool lb::has_avx512_vnni() {
    return false;
}

bool lb::has_avx_vnni() {
    return false;
}

#endif
