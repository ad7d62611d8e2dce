// Runs programs that use Intel AMX on a CPU without it, for tests. docs/testing.md says how.
//
// Loaded by LD_PRELOAD. A CPU without AMX raises SIGILL at every tile instruction; the handler here
// decodes it, executes it on tiles kept for each thread, and continues behind it. Whatever the hardware
// refuses (no tile configured, no permission asked for, shapes that do not fit) stays SIGILL.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

// LDTILECFG's operand, byte for byte.
typedef struct {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

typedef struct {
    tile_config config;
    uint8_t tiles[TILES][ROWS][ROW_BYTES];
} tile_state;

// A preloaded library has its thread-local variables in each thread's first block: no allocation in a handler.
static __thread tile_state state __attribute__((tls_model("initial-exec")));

// ---- The instructions -------------------------------------------------------------------------------

typedef struct {
    uint64_t length;  // of the whole instruction
    uint8_t opcode, prefix;  // prefix: 0 none, 1 is 66, 2 is F3, 3 is F2
    bool has_memory;
    uint8_t reg, rm, vvvv;   // tile numbers; rm only without memory
    uint8_t * address;
    int64_t stride;
} instruction;

// The registers in the encoding's order.
static const int REGISTERS[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static int32_t read_i32(const uint8_t * p) {
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

// Decodes VEX.128.0F38.W0 with AMX's opcodes; false for everything else.
static bool decode(const uint8_t * code, const greg_t * registers, instruction * in) {
    if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) {
        return false;
    }
    in->opcode = code[3];
    if (in->opcode != 0x49 && in->opcode != 0x4B && in->opcode != 0x5C && in->opcode != 0x5E) {
        return false;
    }
    const int r = !(code[1] & 0x80), x = !(code[1] & 0x40), b = !(code[1] & 0x20);
    const uint8_t modrm = code[4];
    const int mod = modrm >> 6;
    in->prefix     = code[2] & 3;
    in->vvvv       = (~code[2] >> 3) & 15;
    in->reg        = ((modrm >> 3) & 7) | (r << 3);
    in->rm         = (modrm & 7) | (b << 3);
    in->has_memory = mod != 3;
    in->address    = NULL;
    in->stride     = 0;
    const uint8_t * next = code + 5;
    if (in->has_memory) {
        int64_t address = 0;
        bool is_relative = false;
        int base = modrm & 7;
        bool has_base = !(mod == 0 && base == 5);
        if (base == 4) {
            const uint8_t sib = *next++;
            const int index = ((sib >> 3) & 7) | (x << 3);
            base     = sib & 7;
            has_base = !(mod == 0 && base == 5);
            if (index != 4) {
                in->stride = (int64_t) registers[REGISTERS[index]] << (sib >> 6);
            }
            // The tile loads and stores take the index for the distance of rows; the others for an address.
            if (in->opcode != 0x4B) {
                address += in->stride;
            }
        } else if (in->opcode == 0x4B) {
            return false;  // they exist with a SIB byte only
        } else {
            is_relative = !has_base;
        }
        if (has_base) {
            address += registers[REGISTERS[base | (b << 3)]];
        }
        if (mod == 1) {
            address += (int8_t) *next++;
        } else if (mod == 2 || !has_base) {
            address += read_i32(next);
            next += 4;
        }
        if (is_relative) {
            address += (int64_t) (intptr_t) next;
        }
        in->address = (uint8_t *) (intptr_t) address;
    }
    in->length = (uint64_t) (next - code);
    return true;
}

static bool is_configured(int tile) {
    return tile < TILES && state.config.palette == 1 && state.config.rows[tile] != 0;
}

static int rows_of(int tile) {
    return state.config.rows[tile];
}

static int bytes_of(int tile) {
    return state.config.row_bytes[tile];
}

// What LDTILECFG answers with a general protection fault.
static bool is_valid(const tile_config * config) {
    static const uint8_t zeros[14];
    if (config->palette > 1 || memcmp(config->reserved, zeros, sizeof zeros) != 0) {
        return false;
    }
    for (int i = 0; i < 16; i++) {
        const int rows = config->rows[i], bytes = config->row_bytes[i];
        if (rows > ROWS || bytes > ROW_BYTES || (rows == 0) != (bytes == 0) || (i >= TILES && rows != 0)) {
            return false;
        }
    }
    return true;
}

static bool configure(const uint8_t * address) {
    tile_config config;
    memcpy(&config, address, sizeof config);
    if (config.palette != 0 && !is_valid(&config)) {
        raise(SIGSEGV);  // what Linux makes of the fault
        return false;
    }
    memset(&state, 0, sizeof state);
    if (config.palette != 0) {
        state.config = config;
    }
    return true;
}

static bool load_tile(const instruction * in) {
    const int tile = in->reg;
    if (!is_configured(tile)) {
        return false;
    }
    const size_t bytes = (size_t) bytes_of(tile);
    for (int row = state.config.start_row; row < ROWS; row++) {
        uint8_t * to = state.tiles[tile][row];
        memset(to, 0, ROW_BYTES);
        if (row < rows_of(tile)) {
            memcpy(to, in->address + row * in->stride, bytes);
        }
    }
    state.config.start_row = 0;
    return true;
}

static bool store_tile(const instruction * in) {
    const int tile = in->reg;
    if (!is_configured(tile)) {
        return false;
    }
    for (int row = state.config.start_row; row < rows_of(tile); row++) {
        memcpy(in->address + row * in->stride, state.tiles[tile][row], (size_t) bytes_of(tile));
    }
    state.config.start_row = 0;
    return true;
}

// Four products of bytes, summed; each side with or without sign.
static inline uint32_t dot4(const uint8_t * a, const uint8_t * b, bool a_signed, bool b_signed) {
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        const int32_t x = a_signed ? (int8_t) a[i] : a[i];
        const int32_t y = b_signed ? (int8_t) b[i] : b[i];
        sum += x * y;
    }
    return (uint32_t) sum;
}

static inline __attribute__((always_inline)) void multiply_bytes(
    uint8_t (*c)[ROW_BYTES], uint8_t (*a)[ROW_BYTES], uint8_t (*b)[ROW_BYTES],
    int rows, int depth, int columns, bool a_signed, bool b_signed) {
    for (int m = 0; m < rows; m++) {
        uint32_t sums[ROW_BYTES / 4] = { 0 };
        memcpy(sums, c[m], (size_t) columns * 4);
        for (int k = 0; k < depth; k++) {
            for (int n = 0; n < columns; n++) {
                sums[n] += dot4(a[m] + 4 * k, b[k] + 4 * n, a_signed, b_signed);
            }
        }
        memcpy(c[m], sums, (size_t) columns * 4);
    }
}

// Denormals count as zero and become zero, and results are rounded to nearest, whatever MXCSR says.
static float flush(float value) {
    return value != 0 && __builtin_fabsf(value) < 0x1p-126f ? __builtin_copysignf(0, value) : value;
}

static float from_bf16(const uint8_t * p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    const uint32_t bits = (uint32_t) half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return flush(value);
}

static void multiply_bf16(
    uint8_t (*c)[ROW_BYTES], uint8_t (*a)[ROW_BYTES], uint8_t (*b)[ROW_BYTES], int rows, int depth, int columns) {
    for (int m = 0; m < rows; m++) {
        for (int n = 0; n < columns; n++) {
            float first = 0, second = 0, sum;
            for (int k = 0; k < depth; k++) {
                first  = flush(__builtin_fmaf(from_bf16(a[m] + 4 * k), from_bf16(b[k] + 4 * n), first));
                second = flush(__builtin_fmaf(from_bf16(a[m] + 4 * k + 2), from_bf16(b[k] + 4 * n + 2), second));
            }
            memcpy(&sum, c[m] + 4 * n, sizeof sum);
            sum = flush(flush(sum) + flush(first + second));
            memcpy(c[m] + 4 * n, &sum, sizeof sum);
        }
    }
}

static bool multiply(const instruction * in) {
    const int c = in->reg, a = in->rm, b = in->vvvv;
    if (in->has_memory || !is_configured(c) || !is_configured(a) || !is_configured(b)) {
        return false;
    }
    const bool are_different = c != a && c != b && a != b;
    const bool fit = rows_of(c) == rows_of(a) && bytes_of(c) == bytes_of(b) && bytes_of(a) == 4 * rows_of(b);
    if (!are_different || !fit || bytes_of(c) % 4 != 0) {
        return false;
    }
    uint8_t(*tc)[ROW_BYTES] = state.tiles[c], (*ta)[ROW_BYTES] = state.tiles[a], (*tb)[ROW_BYTES] = state.tiles[b];
    const int rows = rows_of(c), depth = rows_of(b), columns = bytes_of(c) / 4;
    if (in->opcode == 0x5C) {
        if (in->prefix != 2) {
            return false;  // TDPFP16PS and later kinds are not emulated
        }
        multiply_bf16(tc, ta, tb, rows, depth, columns);
    } else {
        switch (in->prefix) {
            case 0: multiply_bytes(tc, ta, tb, rows, depth, columns, false, false); break;
            case 1: multiply_bytes(tc, ta, tb, rows, depth, columns, false, true);  break;
            case 2: multiply_bytes(tc, ta, tb, rows, depth, columns, true, false);  break;
            case 3: multiply_bytes(tc, ta, tb, rows, depth, columns, true, true);   break;
        }
    }
    state.config.start_row = 0;
    return true;
}

// Executes `in`; false where the hardware has an invalid-opcode fault.
static bool execute(const instruction * in) {
    if (in->opcode == 0x5C || in->opcode == 0x5E) {
        return multiply(in);
    }
    if (in->vvvv != 0) {
        return false;
    }
    if (in->opcode == 0x4B) {
        switch (in->prefix) {
            case 1:  // TILELOADDT1: a hint more
            case 3: return in->has_memory && load_tile(in);
            case 2: return in->has_memory && store_tile(in);
            default: return false;
        }
    }
    if (in->has_memory && in->reg == 0 && in->prefix == 0) {
        return configure(in->address);
    }
    if (in->has_memory && in->reg == 0 && in->prefix == 1) {
        memcpy(in->address, &state.config, sizeof state.config);
        return true;
    }
    if (!in->has_memory && in->reg == 0 && in->rm == 0 && in->prefix == 0) {
        memset(&state, 0, sizeof state);  // TILERELEASE
        return true;
    }
    if (!in->has_memory && in->rm == 0 && in->prefix == 3 && is_configured(in->reg)) {
        memset(state.tiles[in->reg], 0, sizeof state.tiles[0]);
        state.config.start_row = 0;
        return true;
    }
    return false;
}

// ---- Signals ----------------------------------------------------------------------------------------

static bool is_permitted;  // by ARCH_REQ_XCOMP_PERM, for the whole process
static struct sigaction chained = { .sa_handler = SIG_DFL };  // the action the program believes it has set

static int real_sigaction(int number, const struct sigaction * action, struct sigaction * old) {
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (next == NULL) {
        next = (int (*)(int, const struct sigaction *, struct sigaction *)) dlsym(RTLD_NEXT, "sigaction");
    }
    return next(number, action, old);
}

static void chain(int number, siginfo_t * info, void * context) {
    if (chained.sa_handler != SIG_DFL && chained.sa_handler != SIG_IGN) {
        if (chained.sa_flags & SA_SIGINFO) {
            chained.sa_sigaction(number, info, context);
        } else {
            chained.sa_handler(number);
        }
        return;
    }
    // The default action, at the same instruction: it is executed again, and the process ends.
    const struct sigaction by_default = { .sa_handler = SIG_DFL };
    real_sigaction(number, &by_default, NULL);
    if (info->si_code <= 0) {
        raise(number);  // sent by a program: no instruction repeats it
    }
}

static void on_sigill(int number, siginfo_t * info, void * context) {
    greg_t * registers = ((ucontext_t *) context)->uc_mcontext.gregs;
    const int saved = errno;
    instruction in;
    bool is_done = false;
    // Tile instructions often follow each other: the more of them in one signal, the faster.
    while (info->si_code > 0 && is_permitted) {
        const uint8_t * code = (const uint8_t *) (intptr_t) registers[REG_RIP];
        if (!decode(code, registers, &in) || !execute(&in)) {
            break;
        }
        registers[REG_RIP] += (greg_t) in.length;
        is_done = true;
    }
    errno = saved;
    if (!is_done) {
        chain(number, info, context);
    }
}

// Python's faulthandler, which pytest turns on, would take the signal from us.
int sigaction(int number, const struct sigaction * action, struct sigaction * old) {
    if (number != SIGILL) {
        return real_sigaction(number, action, old);
    }
    const struct sigaction before = chained;
    if (action != NULL) {
        chained = *action;
    }
    if (old != NULL) {
        *old = before;
    }
    return 0;
}

sighandler_t signal(int number, sighandler_t handler) {
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

// ---- Permission -------------------------------------------------------------------------------------

enum { ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_GET_XCOMP_PERM = 0x1022, ARCH_REQ_XCOMP_PERM = 0x1023 };
enum { XFEATURE_XTILECFG = 17, XFEATURE_XTILEDATA = 18 };
static const uint64_t TILE_FEATURES = 1ull << XFEATURE_XTILECFG | 1ull << XFEATURE_XTILEDATA;

static long system_call(long number, const long * a) {
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8")   = a[4];
    register long r9 __asm__("r9")   = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result >= -4095) {
        errno = (int) -result;
        return -1;
    }
    return result;
}

// libc's syscall(), by which programs ask the kernel for AMX; everything else goes to the kernel.
long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_arch_prctl && a[0] == ARCH_REQ_XCOMP_PERM && a[1] == XFEATURE_XTILEDATA) {
        is_permitted = true;
        return 0;
    }
    const long result = system_call(number, a);
    if (number == SYS_arch_prctl && (a[0] == ARCH_GET_XCOMP_SUPP || a[0] == ARCH_GET_XCOMP_PERM)) {
        uint64_t * features = (uint64_t *) a[1];
        if (result != 0) {
            *features = 3;  // an older kernel: x87 and SSE
        }
        *features |= a[0] == ARCH_GET_XCOMP_SUPP || is_permitted ? TILE_FEATURES : 0;
        return 0;
    }
    return result;
}

__attribute__((constructor)) static void install(void) {
    struct sigaction action = { .sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigemptyset(&action.sa_mask);
    real_sigaction(SIGILL, &action, &chained);
}
