// The instruction sets that a compiler may use by itself, one line each: the name that users read,
// the macro by which the compiler says that it uses the set, and how the running CPU shows that it has it.
//
// Two readers: cpu_features_probe.cpp is compiled with the flags of each native library and shows which
// macros they define; cpu_features.cpp asks the CPU. Sets that only intrinsics or system calls use (sha,
// rdrand, ...) are left out: a CPU without them runs compiled code.
//
// LB_FEATURE(name, macro, ...)   needed: code compiled with the macro may contain such an instruction anywhere
// LB_OPTIONAL(name, macro, ...)  used only after the program has asked the system, so a CPU may lack it
#ifndef LB_OPTIONAL
#define LB_OPTIONAL(...)
#endif

#if defined(__x86_64__) || defined(_M_X64)
// ..., CPUID leaf, subleaf, register, bit, and the parts of the register file that the OS has to save.
LB_FEATURE(sse3, __SSE3__, 1, 0, ECX, 0, NONE)
LB_FEATURE(ssse3, __SSSE3__, 1, 0, ECX, 9, NONE)
LB_FEATURE(sse4_1, __SSE4_1__, 1, 0, ECX, 19, NONE)
LB_FEATURE(sse4_2, __SSE4_2__, 1, 0, ECX, 20, NONE)
LB_FEATURE(sse4a, __SSE4A__, 0x80000001, 0, ECX, 6, NONE)
LB_FEATURE(popcnt, __POPCNT__, 1, 0, ECX, 23, NONE)
LB_FEATURE(movbe, __MOVBE__, 1, 0, ECX, 22, NONE)
LB_FEATURE(lzcnt, __LZCNT__, 0x80000001, 0, ECX, 5, NONE)
LB_FEATURE(bmi, __BMI__, 7, 0, EBX, 3, NONE)
LB_FEATURE(bmi2, __BMI2__, 7, 0, EBX, 8, NONE)
LB_FEATURE(tbm, __TBM__, 0x80000001, 0, ECX, 21, NONE)
LB_FEATURE(aes, __AES__, 1, 0, ECX, 25, NONE)
LB_FEATURE(pclmul, __PCLMUL__, 1, 0, ECX, 1, NONE)
LB_FEATURE(gfni, __GFNI__, 7, 0, ECX, 8, NONE)
LB_FEATURE(apxf, __APX_F__, 7, 1, EDX, 21, APX)
LB_FEATURE(avx, __AVX__, 1, 0, ECX, 28, YMM)
LB_FEATURE(f16c, __F16C__, 1, 0, ECX, 29, YMM)
LB_FEATURE(fma, __FMA__, 1, 0, ECX, 12, YMM)
LB_FEATURE(fma4, __FMA4__, 0x80000001, 0, ECX, 16, YMM)
LB_FEATURE(xop, __XOP__, 0x80000001, 0, ECX, 11, YMM)
LB_FEATURE(avx2, __AVX2__, 7, 0, EBX, 5, YMM)
LB_FEATURE(vaes, __VAES__, 7, 0, ECX, 9, YMM)
LB_FEATURE(vpclmulqdq, __VPCLMULQDQ__, 7, 0, ECX, 10, YMM)
LB_FEATURE(avxvnni, __AVXVNNI__, 7, 1, EAX, 4, YMM)
LB_FEATURE(avxifma, __AVXIFMA__, 7, 1, EAX, 23, YMM)
LB_FEATURE(avxvnniint8, __AVXVNNIINT8__, 7, 1, EDX, 4, YMM)
LB_FEATURE(avxneconvert, __AVXNECONVERT__, 7, 1, EDX, 5, YMM)
LB_FEATURE(avxvnniint16, __AVXVNNIINT16__, 7, 1, EDX, 10, YMM)
LB_FEATURE(avx512f, __AVX512F__, 7, 0, EBX, 16, ZMM)
LB_FEATURE(avx512dq, __AVX512DQ__, 7, 0, EBX, 17, ZMM)
LB_FEATURE(avx512ifma, __AVX512IFMA__, 7, 0, EBX, 21, ZMM)
LB_FEATURE(avx512pf, __AVX512PF__, 7, 0, EBX, 26, ZMM)
LB_FEATURE(avx512er, __AVX512ER__, 7, 0, EBX, 27, ZMM)
LB_FEATURE(avx512cd, __AVX512CD__, 7, 0, EBX, 28, ZMM)
LB_FEATURE(avx512bw, __AVX512BW__, 7, 0, EBX, 30, ZMM)
LB_FEATURE(avx512vl, __AVX512VL__, 7, 0, EBX, 31, ZMM)
LB_FEATURE(avx512vbmi, __AVX512VBMI__, 7, 0, ECX, 1, ZMM)
LB_FEATURE(avx512vbmi2, __AVX512VBMI2__, 7, 0, ECX, 6, ZMM)
LB_FEATURE(avx512vnni, __AVX512VNNI__, 7, 0, ECX, 11, ZMM)
LB_FEATURE(avx512bitalg, __AVX512BITALG__, 7, 0, ECX, 12, ZMM)
LB_FEATURE(avx512vpopcntdq, __AVX512VPOPCNTDQ__, 7, 0, ECX, 14, ZMM)
LB_FEATURE(avx512fp16, __AVX512FP16__, 7, 0, EDX, 23, ZMM)
LB_FEATURE(avx512bf16, __AVX512BF16__, 7, 1, EAX, 5, ZMM)
LB_OPTIONAL(amx_tile, __AMX_TILE__, 7, 0, EDX, 24, TILE)
LB_OPTIONAL(amx_int8, __AMX_INT8__, 7, 0, EDX, 25, TILE)
LB_OPTIONAL(amx_bf16, __AMX_BF16__, 7, 0, EDX, 22, TILE)

#elif defined(__aarch64__) && defined(__linux__)
// ..., 1 for a bit of AT_HWCAP or 2 for one of AT_HWCAP2, the bit (arch/arm64/include/uapi/asm/hwcap.h).
LB_FEATURE(aes, __ARM_FEATURE_AES, 1, 3)
LB_FEATURE(sha2, __ARM_FEATURE_SHA2, 1, 6)
LB_FEATURE(crc32, __ARM_FEATURE_CRC32, 1, 7)
LB_FEATURE(atomics, __ARM_FEATURE_ATOMICS, 1, 8)
LB_FEATURE(fp16, __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, 1, 10)
LB_FEATURE(rdm, __ARM_FEATURE_QRDMX, 1, 12)
LB_FEATURE(jscvt, __ARM_FEATURE_JCVT, 1, 13)
LB_FEATURE(fcma, __ARM_FEATURE_COMPLEX, 1, 14)
LB_FEATURE(lrcpc, __ARM_FEATURE_RCPC, 1, 15)
LB_FEATURE(sha3, __ARM_FEATURE_SHA3, 1, 17)
LB_FEATURE(dotprod, __ARM_FEATURE_DOTPROD, 1, 20)
LB_FEATURE(sve, __ARM_FEATURE_SVE, 1, 22)
LB_FEATURE(fp16fml, __ARM_FEATURE_FP16_FML, 1, 23)
LB_FEATURE(sve2, __ARM_FEATURE_SVE2, 2, 1)
LB_FEATURE(frint, __ARM_FEATURE_FRINT, 2, 8)
LB_FEATURE(i8mm, __ARM_FEATURE_MATMUL_INT8, 2, 13)
LB_FEATURE(bf16, __ARM_FEATURE_BF16_VECTOR_ARITHMETIC, 2, 14)
LB_FEATURE(sme, __ARM_FEATURE_SME, 2, 23)
#endif

#undef LB_FEATURE
#undef LB_OPTIONAL
