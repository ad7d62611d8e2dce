// Checks the emulator (or the hardware): products of one tile against plain loops. `amx_check unconfigured`,
// `empty` and `unpermitted` do what must end in SIGILL.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <thread>

struct alignas(64) config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

static config shapes(int m, int n, int k) {  // tile 0 += tile 1 x tile 2, 4 bytes of depth for each k
    config c;
    c.rows[0] = m, c.row_bytes[0] = 4 * n;
    c.rows[1] = m, c.row_bytes[1] = 4 * k;
    c.rows[2] = k, c.row_bytes[2] = 4 * n;
    return c;
}

static void load(const config & c) {
    // Not _tile_loadconfig: some compilers drop the stores to the part of `c` that they think unread.
    __asm__ volatile("ldtilecfg %0" : : "m"(c) : "memory");
}

static int32_t byte_at(const uint8_t * p, bool is_signed) { return is_signed ? (int8_t) *p : *p; }

static float from_bf16(const uint8_t * p) {
    uint16_t half;
    memcpy(&half, p, 2);
    const uint32_t bits = (uint32_t) half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static int check_bytes(int kind, int m, int n, int k, std::mt19937 & random) {
    uint8_t a[16][64], b[16][64];
    int32_t c[16][16], got[16][16] = {};
    for (auto & row : a) for (auto & x : row) x = random();
    for (auto & row : b) for (auto & x : row) x = random();
    for (auto & row : c) for (auto & x : row) x = random();
    load(shapes(m, n, k));
    _tile_loadd(0, c, 64);
    _tile_loadd(1, a, 64);
    _tile_stream_loadd(2, b, 64);
    switch (kind) {
        case 0: _tile_dpbssd(0, 1, 2); break;
        case 1: _tile_dpbsud(0, 1, 2); break;
        case 2: _tile_dpbusd(0, 1, 2); break;
        case 3: _tile_dpbuud(0, 1, 2); break;
    }
    _tile_stored(0, got, 64);
    int wrong = 0;
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            uint32_t sum = c[i][j];
            for (int l = 0; l < 4 * k; l++) {
                sum += byte_at(&a[i][l], kind < 2) * byte_at(&b[l / 4][4 * j + l % 4], kind % 2 == 0);
            }
            wrong += (int32_t) sum != got[i][j];
        }
    }
    return wrong;
}

static int check_bf16(int m, int n, int k, std::mt19937 & random) {
    uint8_t a[16][64], b[16][64];
    float c[16][16], got[16][16] = {};
    std::uniform_real_distribution<float> value(-1, 1);
    const auto fill = [&](uint8_t * row) {
        for (int i = 0; i < 32; i++) {
            const float x = value(random);
            memcpy(row + 2 * i, (const char *) &x + 2, 2);
        }
    };
    for (auto & row : a) fill(row);
    for (auto & row : b) fill(row);
    for (auto & row : c) for (auto & x : row) x = value(random);
    load(shapes(m, n, k));
    _tile_loadd(0, c, 64);
    _tile_loadd(1, a, 64);
    _tile_loadd(2, b, 64);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, got, 64);
    int wrong = 0;
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            double sum = c[i][j];
            for (int l = 0; l < 2 * k; l++) {
                sum += (double) from_bf16(&a[i][2 * l]) * from_bf16(&b[l / 2][4 * j + 2 * (l % 2)]);
            }
            wrong += std::fabs(sum - got[i][j]) > 1e-5;
        }
    }
    return wrong;
}

static int check_state() {
    int wrong = 0;
    const config given = shapes(16, 16, 16);
    config got;
    load(given);
    __asm__ volatile("sttilecfg %0" : "=m"(got));
    wrong += memcmp(&given, &got, sizeof got) != 0;
    uint8_t bytes[16][64], out[16][64];
    memset(bytes, 7, sizeof bytes);
    _tile_loadd(0, bytes, 64);
    // Another thread has tiles of its own.
    std::thread([&] {
        load(given);
        _tile_zero(0);
    }).join();
    _tile_stored(0, out, 64);
    wrong += memcmp(bytes, out, sizeof out) != 0;
    // Rows are `stride` bytes apart; zero repeats the first.
    bytes[0][0] = 9;
    _tile_loadd(0, bytes, 0);
    _tile_stored(0, out, 64);
    wrong += memcmp(out[15], bytes[0], 64) != 0;
    _tile_zero(0);
    _tile_stored(0, out, 64);
    wrong += out[3][3] != 0;
    _tile_release();
    __asm__ volatile("sttilecfg %0" : "=m"(got));
    wrong += got.palette != 0;
    return wrong;
}

int main(int argc, char ** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode != "unpermitted" && syscall(SYS_arch_prctl, 0x1023, 18) != 0) {
        fputs("no permission to use AMX\n", stderr);
        return 2;
    }
    if (mode == "unconfigured") {
        _tile_zero(0);
    } else if (mode == "empty") {  // what a compiler makes that drops the stores to rows and row_bytes
        load(config());
        _tile_zero(0);
    } else if (mode == "unpermitted") {
        load(shapes(16, 16, 16));
        _tile_zero(0);
    } else {
        std::mt19937 random(1);
        int wrong = check_state();
        for (int kind = 0; kind < 4; kind++) {
            wrong += check_bytes(kind, 16, 16, 16, random) + check_bytes(kind, 3, 5, 7, random);
        }
        wrong += check_bf16(16, 16, 16, random) + check_bf16(5, 3, 2, random);
        printf("%d wrong\n", wrong);
        return wrong != 0;
    }
    puts("still alive");
    return 0;
}
