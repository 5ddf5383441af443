// AArch64 instructions by class, from their 32-bit encoding.
//
// The encodings are those of the Arm Architecture Reference Manual (DDI 0487, chapters C4, C7, C8
// and C9); tests/test_instruction_profile.py compares them with those of the assembler. A row of a
// table matches a word where the bits of its mask are those of its value; where a comment names a
// bit, that bit is left open because it only chooses between the instructions of the row.
#pragma once

#include <stdint.h>

enum instruction_class {
    CLASS_SMMLA,   // int8 matrix multiply: SMMLA, UMMLA, USMMLA
    CLASS_SDOT,    // dot product of int8 (SVE: also int16): SDOT, UDOT, USDOT, SUDOT
    CLASS_MLA,     // other integer vector multiply, alone or with add: SMLAL, SMULL, MLA, MUL
    CLASS_SMOPA,   // SME integer outer product: SMOPA, UMOPA, SUMOPA, USMOPA and their ..MOPS
    CLASS_FMOPA,   // SME floating-point outer product: FMOPA, FMOPS, BFMOPA, BFMOPS
    CLASS_FMLA,    // vector multiply-add of float32 and float64: FMLA, FMLS, FMAD, FMMLA
    CLASS_FMLA16,  // vector multiply-add of float16: FMLA, FMLS, FMAD, FMLAL, FMLSL
    CLASS_SIMD,    // all other floating point, Advanced SIMD, SVE and SME
    CLASS_LOAD,    // loads, atomic read-modify-writes among them
    CLASS_STORE,   // stores
    CLASS_BRANCH,  // branches, calls, returns
    CLASS_OTHER,   // integer arithmetic, prefetches, barriers, system
    CLASS_COUNT,
};

static const char *const class_names[CLASS_COUNT] = {
    "smmla",  "sdot", "mla",  "smopa", "fmopa",  "fmla",
    "fmla16", "simd", "load", "store", "branch", "other",
};

struct encoding {
    uint32_t mask;
    uint32_t value;
    enum instruction_class class;
};

// Advanced SIMD, the multiplications. Bit 30 (Q, the length of the vector) is open.
static const struct encoding simd_encodings[] = {
    {0xFFE0FC00, 0x4E80A400, CLASS_SMMLA},   // SMMLA
    {0xFFE0FC00, 0x6E80A400, CLASS_SMMLA},   // UMMLA
    {0xFFE0FC00, 0x4E80AC00, CLASS_SMMLA},   // USMMLA
    {0x9FE0FC00, 0x0E809400, CLASS_SDOT},    // SDOT, UDOT (bit 29)
    {0xBFE0FC00, 0x0E809C00, CLASS_SDOT},    // USDOT
    {0x9FC0F400, 0x0F80E000, CLASS_SDOT},    // SDOT, UDOT (bit 29) by element
    {0xBF40F400, 0x0F00F000, CLASS_SDOT},    // SUDOT, USDOT (bit 23) by element
    {0x9F20FC00, 0x0E209400, CLASS_MLA},     // MLA, MLS (bit 29)
    {0xBF20FC00, 0x0E209C00, CLASS_MLA},     // MUL
    {0x9F20DC00, 0x0E208000, CLASS_MLA},     // SMLAL, UMLAL (bit 29), SMLSL, UMLSL (bit 13)
    {0x9F20FC00, 0x0E20C000, CLASS_MLA},     // SMULL, UMULL (bit 29)
    {0xBF00B400, 0x2F000000, CLASS_MLA},     // MLA, MLS (bit 14) by element
    {0xBF00F400, 0x0F008000, CLASS_MLA},     // MUL by element
    {0x9F00B400, 0x0F002000, CLASS_MLA},     // SMLAL, SMLSL (bit 14), U.. (bit 29) by element
    {0x9F00F400, 0x0F00A000, CLASS_MLA},     // SMULL, UMULL (bit 29) by element
    {0xBF20FC00, 0x0E20CC00, CLASS_FMLA},    // FMLA, FMLS (bit 23)
    {0xBF80B400, 0x0F801000, CLASS_FMLA},    // FMLA, FMLS (bit 14) by element
    {0xFF80B400, 0x5F801000, CLASS_FMLA},    // the same, scalar
    {0xBF60FC00, 0x0E400C00, CLASS_FMLA16},  // FMLA, FMLS (bit 23)
    {0xBFC0B400, 0x0F001000, CLASS_FMLA16},  // FMLA, FMLS (bit 14) by element
    {0xFFC0B400, 0x5F001000, CLASS_FMLA16},  // the same, scalar
    {0xBF20FC00, 0x0E20EC00, CLASS_FMLA16},  // FMLAL, FMLSL (bit 23)
    {0xBF20FC00, 0x2E20CC00, CLASS_FMLA16},  // FMLAL2, FMLSL2 (bit 23)
    {0xBFC0B400, 0x0F800000, CLASS_FMLA16},  // FMLAL, FMLSL (bit 14) by element
    {0xBFC0B400, 0x2F808000, CLASS_FMLA16},  // FMLAL2, FMLSL2 (bit 14) by element
    {0x00000000, 0x00000000, CLASS_SIMD},
};

// SVE: multiplications, then memory (bit 31 set): stores, prefetches, and what is left are loads.
static const struct encoding sve_encodings[] = {
    {0xFFE0FC00, 0x45009800, CLASS_SMMLA},   // SMMLA
    {0xFFA0FC00, 0x45809800, CLASS_SMMLA},   // USMMLA, UMMLA (bit 22)
    {0xFFA0F800, 0x44800000, CLASS_SDOT},    // SDOT, UDOT (bit 10) of int8, int16 (bit 22)
    {0xFFA0F800, 0x44A00000, CLASS_SDOT},    // the same by element
    {0xFFE0FC00, 0x44807800, CLASS_SDOT},    // USDOT
    {0xFFE0F800, 0x44A01800, CLASS_SDOT},    // USDOT, SUDOT (bit 10) by element
    {0xFF204000, 0x04004000, CLASS_MLA},     // MLA, MLS, MAD, MSB (bits 15, 13), predicated
    {0xFF3FE000, 0x04100000, CLASS_MLA},     // MUL, predicated
    {0xFF3FE000, 0x2530C000, CLASS_MLA},     // MUL by an immediate
    {0xFF20FC00, 0x04206000, CLASS_MLA},     // MUL
    {0xFF20E000, 0x44004000, CLASS_MLA},     // [SU]ML[AS]L[BT] (bits 12:10)
    {0xFF20F000, 0x45007000, CLASS_MLA},     // [SU]MULL[BT] (bits 11:10)
    {0xFFA0F800, 0x44200800, CLASS_MLA},     // MLA, MLS (bit 10) by element of int16
    {0xFFA0F800, 0x44A00800, CLASS_MLA},     // the same of int32, int64 (bit 22)
    {0xFFA0C000, 0x44A08000, CLASS_MLA},     // [SU]ML[AS]L[BT] (bits 13, 12, 10) by element
    {0xFFA0E000, 0x44A0C000, CLASS_MLA},     // [SU]MULL[BT] (bits 12, 10) by element
    {0xFFA0FC00, 0x4420F800, CLASS_MLA},     // MUL by element of int16
    {0xFFA0FC00, 0x44A0F800, CLASS_MLA},     // MUL by element of int32, int64 (bit 22)
    {0xFFA00000, 0x65A00000, CLASS_FMLA},    // F[N]ML[AS], F[N]MAD, F[N]MSB (bits 15:13)
    {0xFFE00000, 0x65600000, CLASS_FMLA16},  // the same of float16
    {0xFFA0F800, 0x64A00000, CLASS_FMLA},    // FMLA, FMLS (bit 10) by element
    {0xFFA0F800, 0x64200000, CLASS_FMLA16},  // the same of float16
    {0xFFA0FC00, 0x64A0E400, CLASS_FMLA},    // FMMLA of float32, float64 (bit 22)
    {0xFFE0D800, 0x64A08000, CLASS_FMLA16},  // FML[AS]L[BT] (bits 13, 10)
    {0xFFE0D000, 0x64A04000, CLASS_FMLA16},  // the same by element
    {0x80000000, 0x00000000, CLASS_SIMD},
    {0xFE000000, 0xE4000000, CLASS_STORE},   // ST1.., STNT1.., STR
    {0xFFA08010, 0x84200000, CLASS_OTHER},   // PRF..: base and scaled 32-bit offsets
    {0xFFC08010, 0x85C00000, CLASS_OTHER},   // PRF..: base and immediate
    {0xFE60E010, 0x8400C000, CLASS_OTHER},   // PRF..: base and index
    {0xFE60E010, 0x8400E000, CLASS_OTHER},   // PRF..: 32-bit bases
    {0xFFE08010, 0xC4608000, CLASS_OTHER},   // PRF..: base and scaled 64-bit offsets
    {0xFFA08010, 0xC4200000, CLASS_OTHER},   // PRF..: base and unpacked 32-bit offsets
    {0xFE60E010, 0xC400E000, CLASS_OTHER},   // PRF..: 64-bit bases
    {0x00000000, 0x00000000, CLASS_LOAD},
};

// SME. Bit 4 of an outer product is open: it subtracts.
static const struct encoding sme_encodings[] = {
    {0xFE800008, 0xA0800000, CLASS_SMOPA},  // SMOPA, SUMOPA, USMOPA, UMOPA (bits 24, 21)
    {0xFEE0000C, 0xA0800008, CLASS_SMOPA},  // SMOPA, UMOPA (bit 24) of int16 pairs
    {0xFFA00008, 0x80800000, CLASS_FMOPA},  // FMOPA of float32, float64 (bit 22)
    {0xFFC0000C, 0x81800000, CLASS_FMOPA},  // BFMOPA, FMOPA of float16 (bit 21)
    {0xFE200000, 0xE0000000, CLASS_LOAD},   // LD1.. of a tile's slice, LDR
    {0xFE200000, 0xE0200000, CLASS_STORE},  // ST1.. of a tile's slice, STR
    {0xFEA00000, 0xA0000000, CLASS_LOAD},   // LD1.. of several vectors
    {0xFEA00000, 0xA0200000, CLASS_STORE},  // ST1.. of several vectors
    {0x80000000, 0x80000000, CLASS_SIMD},
    {0x00000000, 0x00000000, CLASS_OTHER},  // UDF, unallocated
};

// Branches, exceptions and system instructions.
static const struct encoding branch_encodings[] = {
    {0x7C000000, 0x14000000, CLASS_BRANCH},  // B, BL (bit 31)
    {0x7C000000, 0x34000000, CLASS_BRANCH},  // CBZ, CBNZ, TBZ, TBNZ (bits 25:24)
    {0xFF000000, 0x54000000, CLASS_BRANCH},  // B.cond
    {0xFE000000, 0xD6000000, CLASS_BRANCH},  // BR, BLR, RET (bits 22:21)
    {0x00000000, 0x00000000, CLASS_OTHER},
};

// Loads and stores outside SVE and SME. Bit 22 is L, or the low bit of opc: set in all loads, but
// not in all of those that come first here; atomics and literals use it for something else.
static const struct encoding memory_encodings[] = {
    {0xFF000000, 0xD8000000, CLASS_OTHER},  // PRFM of a literal
    {0xFFC00000, 0xF9800000, CLASS_OTHER},  // PRFM, offset
    {0xFFE00C00, 0xF8800000, CLASS_OTHER},  // PRFUM
    {0xFFE00C00, 0xF8A00800, CLASS_OTHER},  // PRFM, register offset
    {0x3B000000, 0x18000000, CLASS_LOAD},   // LDR, LDRSW of a literal; SIMD too (bit 26)
    {0x3FA00000, 0x08A00000, CLASS_LOAD},   // CAS.. (bits 31:30 size, 22, 15)
    {0xBFA07C00, 0x08207C00, CLASS_LOAD},   // CASP.. (bits 22, 15)
    {0xFFE0EC00, 0xF820A000, CLASS_STORE},  // ST64BV, ST64BV0 (bit 12)
    {0xFFE0FC00, 0xF8209000, CLASS_STORE},  // ST64B
    {0x3F200C00, 0x38200000, CLASS_LOAD},   // LDADD.. to LDUMIN.., SWP.., LDAPR (bits 15:12)
    {0xFF200400, 0xF8200400, CLASS_LOAD},   // LDRAA, LDRAB (bit 23)
    {0xFF600C00, 0xD9600000, CLASS_LOAD},   // LDG, LDGM (bit 23)
    {0xFF200000, 0xD9200000, CLASS_STORE},  // the other tag instructions: STG, STZG, ST2G..
    {0x3B200C00, 0x19000400, CLASS_STORE},  // CPY.., SET.. (bits 26, 15:12)
    {0x3FE00C00, 0x19800000, CLASS_LOAD},   // LDAPURS. to 64 bits
    {0x3EC00000, 0x38800000, CLASS_LOAD},   // LDRS., LDURS. to 64 bits
    {0x00400000, 0x00400000, CLASS_LOAD},
    {0x00000000, 0x00000000, CLASS_STORE},
};

// The class of the first row that matches; the last row of every table matches anything.
static inline enum instruction_class first_match(const struct encoding *row, uint32_t word) {
    while ((word & row->mask) != row->value) row++;
    return row->class;
}

// The class of an instruction, by the main encoding groups of chapter C4.1 (bits 28:25).
static inline enum instruction_class classify(uint32_t word) {
    switch (word >> 25 & 15) {
        case 0: return first_match(sme_encodings, word);
        case 2: return first_match(sve_encodings, word);
        case 4:
        case 6:
        case 12:
        case 14: return first_match(memory_encodings, word);
        case 7:
        case 15: return first_match(simd_encodings, word);
        case 10:
        case 11: return first_match(branch_encodings, word);
        default: return CLASS_OTHER;
    }
}
