// Compiled, never run: does this compiler keep the stores to a tile configuration?
//
// GCC before some point release takes the operand of _tile_loadconfig for 8 bytes of memory. Its
// optimiser then drops every store behind those, the CPU loads an empty configuration, and the first
// tile instruction faults. vendor/amx.cmake looks for the text "LBcfgRow" in the object file.
#include <immintrin.h>

#include <cstdint>

struct alignas(64) tile_config {
    uint8_t  palette_id   = 0;
    uint8_t  start_row    = 0;
    uint8_t  reserved[14] = {0};
    uint64_t colsb[4]     = {0};
    uint64_t rows[2]      = {0};
};

void load_tile_config() {
    tile_config config = {};
    config.palette_id = 1;
    config.rows[0]    = 0x776f52676663424cull; // "LBcfgRow", in memory from its lowest byte on
    _tile_loadconfig(&config);
}
