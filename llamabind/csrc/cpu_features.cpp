// libllamabind-cpu: what the other libraries were compiled for, and what this CPU and its OS offer.
//
// It is opened before every other library and compiled for the oldest CPU of its kind, because the
// others may hold instructions of newer ones in code that runs as soon as they are opened. So it uses
// no library but C's, and has no constructors.

#include <cstddef>

#if defined(_WIN32)
#define LB_EXPORT extern "C" __declspec(dllexport)
#else
#define LB_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#if defined(__x86_64__) || defined(_M_X64)
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace {

// Appends to memory of the caller's; what does not fit is cut, always with a zero at the end.
class text {
  public:
    text(char * memory, size_t size) : memory_(memory), size_(size) {
        if (size_ > 0) {
            memory_[0] = 0;
        }
    }

    void put(char letter) {
        if (length_ + 1 < size_) {
            memory_[length_++] = letter;
            memory_[length_]   = 0;
        }
    }

    void add_word(const char * word) {
        if (length_ > 0) {
            put(' ');
        }
        while (*word) {
            put(*word++);
        }
    }

  private:
    char * memory_;
    size_t size_;
    size_t length_ = 0;
};

#if defined(__x86_64__) || defined(_M_X64)

enum { EAX, EBX, ECX, EDX };

// Bits of XCR0: the registers whose content the OS keeps for each thread. Without them an instruction
// faults even on a CPU that has it.
enum : unsigned { NONE = 0, YMM = 0x6, ZMM = 0xe6, TILE = 0x60000, APX = 0x80000 };

struct registers {
    unsigned value[4] = {};
};

registers cpuid(unsigned leaf, unsigned subleaf) {
    registers r;
#if defined(_MSC_VER)
    int largest[4];
    __cpuid(largest, static_cast<int>(leaf & 0x80000000u));
    if (static_cast<unsigned>(largest[0]) >= leaf) {
        __cpuidex(reinterpret_cast<int *>(r.value), static_cast<int>(leaf), static_cast<int>(subleaf));
    }
#else
    __get_cpuid_count(leaf, subleaf, &r.value[EAX], &r.value[EBX], &r.value[ECX], &r.value[EDX]);
#endif
    // A CPU without subleaf 1 of leaf 7 may answer with other data than zeros.
    if (leaf == 7 && subleaf > 0 && cpuid(7, 0).value[EAX] < subleaf) {
        return registers();
    }
    return r;
}

unsigned kept_by_the_os() {
    const unsigned osxsave = 1u << 27;
    if (!(cpuid(1, 0).value[ECX] & osxsave)) {
        return 0;
    }
#if defined(_MSC_VER)
    return static_cast<unsigned>(_xgetbv(0));
#else
    // As an instruction: the intrinsic wants a compiler flag, and this file has none.
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

bool has(unsigned leaf, unsigned subleaf, int where, int bit, unsigned state) {
    return (cpuid(leaf, subleaf).value[where] >> bit & 1) && (kept_by_the_os() & state) == state;
}

void name_cpu(text & to) {
    char name[49] = {};
    for (unsigned part = 0; part < 3; ++part) {
        const registers r = cpuid(0x80000002u + part, 0);
        for (int i = 0; i < 16; ++i) {
            name[part * 16 + i] = static_cast<char>(r.value[i / 4] >> (8 * (i % 4)));
        }
    }
    const char * begin = name;
    while (*begin == ' ') {
        ++begin;
    }
    to.add_word(begin);
}

#elif defined(__aarch64__) && defined(__linux__)

bool has(int word, int bit) {
    return getauxval(word == 1 ? AT_HWCAP : AT_HWCAP2) >> bit & 1;
}

void name_cpu(text & to) {
    to.add_word("aarch64");
}

#else

void name_cpu(text &) {}

#endif

}  // namespace

// Names of instruction sets, a space between two; they come from the build (vendor/cpu_features.cmake).
LB_EXPORT const char * lb_cpu_needed(void) {
    return LB_CPU_NEEDED;
}

LB_EXPORT const char * lb_cpu_optional(void) {
    return LB_CPU_OPTIONAL;
}

// Of the instruction sets that the table knows, those that this CPU and OS offer.
LB_EXPORT void lb_cpu_found(char * memory, size_t size) {
    text found(memory, size);
#define LB_FEATURE(name, macro, ...) \
    if (has(__VA_ARGS__)) {          \
        found.add_word(#name);       \
    }
#define LB_OPTIONAL LB_FEATURE
#include "cpu_features.h"
}

// The CPU's own name for itself; empty where it has none.
LB_EXPORT void lb_cpu_name(char * memory, size_t size) {
    text name(memory, size);
    name_cpu(name);
}
