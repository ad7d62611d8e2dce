// Run while a build for this machine is configured: does one product of two AMX tiles come out right?
//
// Compiled with the flags of ggml's own AMX code. Exit status 0: yes; 2: the OS does not let a process
// use AMX; 3: wrong numbers. A fault ends it by a signal. Anything but 0 leaves AMX out of the build.
#include <immintrin.h>

#include <cstdint>
#include <cstdio>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

static bool ask_for_amx() {
    const long ARCH_REQ_XCOMP_PERM = 0x1023;
    const long XFEATURE_XTILEDATA  = 18;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#else
static bool ask_for_amx() {
    return true;
}
#endif

enum { ROWS = 16, GROUPS = 16 }; // a group is the 4 bytes that one tile instruction multiplies and adds up

// Filled one by one, in a function of its own, as ggml does it: elsewhere faulty compilers keep the stores.
struct alignas(64) tile_config {
    uint8_t  palette_id   = 0;
    uint8_t  start_row    = 0;
    uint8_t  reserved[14] = {0};
    uint16_t colsb[16]    = {0};
    uint8_t  rows[16]     = {0};
};

__attribute__((noinline)) static void load_tile_config() {
    tile_config config = {};
    config.palette_id = 1;
    config.rows[0]    = ROWS;
    config.colsb[0]   = GROUPS * 4;
    config.rows[1]    = ROWS;
    config.colsb[1]   = GROUPS * 4;
    config.rows[2]    = ROWS;
    config.colsb[2]   = GROUPS * 4;
    _tile_loadconfig(&config);
}

alignas(64) static int8_t  a[ROWS][GROUPS * 4];
alignas(64) static int8_t  b[GROUPS][ROWS * 4];
alignas(64) static int32_t c[ROWS][ROWS];

int main() {
    if (!ask_for_amx()) {
        printf("the operating system does not let a process use AMX\n");
        return 2;
    }
    for (int row = 0; row < ROWS; ++row) {
        for (int column = 0; column < GROUPS * 4; ++column) {
            a[row][column] = static_cast<int8_t>((row * 37 + column * 11) % 251 - 125);
            b[row][column] = static_cast<int8_t>((row * 53 + column * 29) % 247 - 123);
        }
    }
    load_tile_config();
    _tile_zero(0);
    _tile_loadd(1, a, GROUPS * 4);
    _tile_loadd(2, b, ROWS * 4);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, c, ROWS * 4);
    _tile_release();
    for (int row = 0; row < ROWS; ++row) {
        for (int column = 0; column < ROWS; ++column) {
            int32_t sum = 0;
            for (int k = 0; k < GROUPS * 4; ++k) {
                sum += a[row][k] * b[k / 4][column * 4 + k % 4];
            }
            if (c[row][column] != sum) {
                printf("AMX computes %d where %d is right\n", c[row][column], sum);
                return 3;
            }
        }
    }
    return 0;
}
