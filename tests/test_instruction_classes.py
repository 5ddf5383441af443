"""The counting plugin's decoder: every class of instruction in all its forms, as assembled."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "bench" / "tcg_plugin"
CROSS = "aarch64-linux-gnu-"
ARCHITECTURE = (
    ".arch armv9-a+i8mm+bf16+f32mm+f64mm+fp16fml+sve2+aes+sme+sme-f64+sme-i64+mops+memtag\n"
)

# Assembly by class. Registers and sizes vary so that the fields around the opcode are not all 0.
INSTRUCTIONS = {
    "smmla": """
        smmla v1.4s, v2.16b, v31.16b; ummla v30.4s, v2.16b, v3.16b; usmmla v1.4s, v29.16b, v3.16b
        smmla z1.s, z2.b, z31.b; ummla z30.s, z2.b, z3.b; usmmla z1.s, z29.b, z3.b""",
    "sdot": """
        sdot v1.4s, v2.16b, v3.16b; sdot v31.2s, v30.8b, v29.8b; udot v1.4s, v2.16b, v3.16b
        usdot v1.4s, v2.16b, v3.16b; usdot v1.2s, v2.8b, v3.8b
        sdot v1.4s, v2.16b, v3.4b[3]; udot v1.2s, v2.8b, v31.4b[0]; sdot v1.4s, v2.16b, v19.4b[1]
        usdot v1.4s, v2.16b, v3.4b[2]; sudot v1.4s, v2.16b, v31.4b[3]; sudot v1.2s, v2.8b, v3.4b[0]
        sdot z1.s, z2.b, z31.b; udot z1.d, z2.h, z3.h; usdot z1.s, z2.b, z3.b
        sdot z1.s, z2.b, z3.b[3]; udot z1.s, z2.b, z7.b[0]; sdot z1.d, z2.h, z15.h[1]
        usdot z1.s, z2.b, z3.b[1]; sudot z1.s, z2.b, z7.b[3]""",
    "mla": """
        smlal v1.8h, v2.8b, v3.8b; smlal2 v1.4s, v2.8h, v31.8h; umlal v1.2d, v2.2s, v3.2s
        smlsl v1.8h, v2.8b, v3.8b; umlsl2 v1.2d, v2.4s, v3.4s; smull v1.8h, v2.8b, v3.8b
        umull2 v1.4s, v2.8h, v3.8h; mla v1.16b, v2.16b, v3.16b; mls v1.2s, v2.2s, v3.2s
        mul v1.8h, v2.8h, v3.8h; mla v1.4s, v2.4s, v3.s[3]; mls v1.8h, v2.8h, v15.h[7]
        mul v1.4s, v2.4s, v31.s[1]; smlal v1.4s, v2.4h, v3.h[5]; umlsl2 v1.2d, v2.4s, v3.s[2]
        smull v1.4s, v2.4h, v3.h[0]; umull2 v1.2d, v2.4s, v31.s[3]
        mla z1.s, p2/m, z3.s, z4.s; mls z1.b, p7/m, z3.b, z4.b; mad z1.d, p2/m, z3.d, z4.d
        msb z1.h, p2/m, z3.h, z4.h; mul z1.s, p2/m, z1.s, z4.s; mul z1.s, z2.s, z3.s
        mul z1.h, z1.h, #-7; smlalb z1.s, z2.h, z3.h; umlslt z1.d, z2.s, z3.s
        smullb z1.h, z2.b, z3.b; umullt z1.d, z2.s, z3.s; mla z1.h, z2.h, z3.h[7]
        mls z1.d, z2.d, z3.d[1]; smlalb z1.s, z2.h, z3.h[5]; umlslt z1.d, z2.s, z3.s[3]
        smullb z1.s, z2.h, z3.h[1]; umullt z1.d, z2.s, z15.s[2]; mul z1.h, z2.h, z7.h[6]
        mul z1.s, z2.s, z3.s[3]""",
    "smopa": """
        smopa za3.s, p1/m, p2/m, z3.b, z31.b; umopa za0.s, p7/m, p2/m, z3.b, z4.b
        sumopa za1.s, p1/m, p2/m, z3.b, z4.b; usmopa za2.s, p1/m, p2/m, z3.b, z4.b
        smops za3.s, p1/m, p2/m, z3.b, z4.b; umops za0.s, p1/m, p2/m, z3.b, z4.b
        smopa za7.d, p1/m, p2/m, z3.h, z4.h; usmops za5.d, p1/m, p2/m, z3.h, z4.h""",
    "fmopa": """
        fmopa za3.s, p1/m, p2/m, z3.s, z31.s; fmops za0.s, p7/m, p2/m, z3.s, z4.s
        fmopa za7.d, p1/m, p2/m, z3.d, z4.d; fmopa za1.s, p1/m, p2/m, z3.h, z4.h
        bfmopa za2.s, p1/m, p2/m, z3.h, z4.h; bfmops za3.s, p1/m, p2/m, z3.h, z4.h""",
    "fmla": """
        fmla v1.4s, v2.4s, v31.4s; fmls v1.2s, v2.2s, v3.2s; fmla v1.2d, v2.2d, v3.2d
        fmla v1.4s, v2.4s, v3.s[3]; fmls v1.2d, v2.2d, v31.d[1]; fmla s1, s2, v3.s[2]
        fmla z1.s, p2/m, z3.s, z4.s; fmls z1.d, p2/m, z3.d, z4.d; fmad z1.s, p2/m, z3.s, z4.s
        fnmsb z1.s, p7/m, z3.s, z31.s; fmla z1.s, z2.s, z3.s[3]; fmls z1.d, z2.d, z15.d[1]
        fmmla z1.s, z2.s, z3.s; fmmla z1.d, z2.d, z3.d""",
    "fmla16": """
        fmla v1.8h, v2.8h, v31.8h; fmls v1.4h, v2.4h, v3.4h; fmla v1.8h, v2.8h, v3.h[7]
        fmls v1.4h, v2.4h, v15.h[1]; fmla h1, h2, v3.h[2]; fmlal v1.4s, v2.4h, v3.4h
        fmlsl2 v1.2s, v2.2h, v3.2h; fmlal2 v1.4s, v2.4h, v3.h[5]; fmlsl v1.4s, v2.4h, v3.h[1]
        fmla z1.h, p2/m, z3.h, z4.h; fnmad z1.h, p2/m, z3.h, z4.h; fmla z1.h, z2.h, z3.h[7]
        fmlalb z1.s, z2.h, z3.h; fmlslt z1.s, z2.h, z3.h; fmlalt z1.s, z2.h, z3.h[5]""",
    "simd": """
        fadd v1.4s, v2.4s, v3.4s; fmul v1.4s, v2.4s, v3.s[1]; fmul v1.8h, v2.8h, v3.8h
        fmadd s1, s2, s3, s4; fmov x1, d2; scvtf s1, w2; sqrdmulh v1.8h, v2.8h, v3.8h
        sqdmlal v1.4s, v2.4h, v3.4h; pmul v1.16b, v2.16b, v3.16b; bfmmla v1.4s, v2.8h, v3.8h
        bfdot v1.4s, v2.8h, v3.2h[1]; fcmla v1.4s, v2.4s, v3.4s, #90; tbl v1.16b, {v2.16b}, v3.16b
        aese v1.16b, v2.16b; movi v1.4s, #0; dup v1.4s, w2; add v1.16b, v2.16b, v3.16b
        ptrue p1.b; whilelo p1.s, x1, x2; cntw x1; fadd z1.s, z2.s, z3.s; sel z1.b, p1, z2.b, z3.b
        bfmmla z1.s, z2.h, z3.h; brkpa p1.b, p2/z, p3.b, p4.b; zero {za}; rdvl x1, #1
        mova za0h.s[w12, 0], p1/m, z2.s; addha za1.s, p1/m, p2/m, z3.s""",
    "load": """
        ldr x1, [x2, #8]; ldr w1, [x2], #4; ldr x1, [x2, x3, lsl #3]; ldrb w1, [x2]
        ldrsw x1, [x2]; ldrsb w1, [x2, #1]!; ldursh x1, [x2, #-3]; ldr q1, [x2, #16]; ldr b1, [x2]
        ldr x1, .; ldrsw x1, .; ldr q1, .; ldp x1, x2, [x3]; ldp q1, q2, [x3], #32
        ldnp d1, d2, [x3]; ldpsw x1, x2, [x3]; ldtr x1, [x2]; ldxr x1, [x2]; ldaxp x1, x2, [x3]
        ldar w1, [x2]; ldapr x1, [x2]; ldapur x1, [x2, #1]; ldapursw x1, [x2, #1]; cas x1, x2, [x3]
        casal w1, w2, [x3]; caspa x2, x3, x4, x5, [x6]; ldadd x1, x2, [x3]; swpal w1, w2, [x3]
        ldumaxb w1, w2, [x3]; ldraa x1, [x2]; ldg x1, [x2]; ld1 {v1.4s}, [x2]
        ld1 {v1.s}[2], [x2], #4; ld1r {v1.4s}, [x2]; ld4 {v1.16b - v4.16b}, [x2], x3
        ld1w z1.s, p1/z, [x2]; ld1w {z1.s}, p1/z, [x2, z3.s, uxtw]; ldff1b {z1.b}, p1/z, [x2]
        ld1rqw {z1.s}, p1/z, [x2]; ld1rw {z1.s}, p1/z, [x2]; ldnt1d {z1.d}, p1/z, [x2]
        ld1d {z1.d}, p1/z, [x2, z3.d]; ld3w {z1.s - z3.s}, p1/z, [x2]; ldr z1, [x2]; ldr p1, [x2]
        ld1w {za0h.s[w12, 0]}, p1/z, [x2]; ld1q {za0v.q[w12, 0]}, p1/z, [x2]
        ldr za[w12, 0], [x2]""",
    "store": """
        str x1, [x2, #8]; str w1, [x2], #4; str x1, [x2, x3, lsl #3]; strb w1, [x2, #1]!
        sturh w1, [x2, #-3]; str q1, [x2, #16]; str q1, [x2], #16; str b1, [x2]; stp x1, x2, [x3]
        stp q1, q2, [x3], #32; stnp d1, d2, [x3]; sttr x1, [x2]; stxr w1, x2, [x3]
        stlxp w1, x2, x3, [x4]; stlr w1, [x2]; stlur x1, [x2, #1]; stg x1, [x2]; st2g x1, [x2]
        stgp x1, x2, [x3]; cpyfp [x1]!, [x2]!, x3!; cpyfm [x1]!, [x2]!, x3!
        cpyfe [x1]!, [x2]!, x3!; setp [x1]!, x2!, x3; setm [x1]!, x2!, x3; sete [x1]!, x2!, x3
        st1 {v1.4s}, [x2]
        st1 {v1.s}[2], [x2], #4; st4 {v1.16b - v4.16b}, [x2], x3; st1w {z1.s}, p1, [x2]
        st1w {z1.s}, p1, [x2, z3.s, uxtw]; stnt1d {z1.d}, p1, [x2]; st2b {z1.b - z2.b}, p1, [x2]
        str z1, [x2]; str p1, [x2]; st1w {za0h.s[w12, 0]}, p1, [x2]
        st1q {za0v.q[w12, 0]}, p1, [x2]; str za[w12, 0], [x2]""",
    "branch": """
        b .; bl .; b.ne .; cbz x1, .; cbnz w1, .; tbz x1, #40, .; tbnz w1, #3, .; br x1; blr x1
        ret; retaa; braa x1, x2""",
    "other": """
        add x1, x2, x3; sub w1, w2, #4; madd x1, x2, x3, x4; smull x1, w2, w3; lsl x1, x2, #3
        mov x1, #5; adrp x1, .; csel x1, x2, x3, ne; clz x1, x2; crc32x w1, w2, x3; nop; dmb ish
        svc #0; mrs x1, tpidr_el0; dc zva, x1; smstart; prfm pldl1keep, [x1]; prfm pldl1keep, .
        prfum pldl1strm, [x1, #-5]; prfm pstl1keep, [x1, x2]; prfb pldl1keep, p1, [x2]
        prfw pldl1keep, p1, [x2, x3, lsl #2]; prfd pldl1keep, p1, [x2, z3.d, lsl #3]
        prfh pldl1keep, p1, [x2, z3.s, uxtw #1]; prfb pldl1keep, p1, [z2.s]
        prfb pldl1keep, p1, [z2.d]; prfd pldl1keep, p1, [x2, z3.d, sxtw #3]; udf #0; brk #1""",
}


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), check=True, text=True, **options)


def test_class_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(
        '#include <stdio.h>\n#include "aarch64_classes.h"\n'
        "int main(void) {\n"
        "    uint32_t word;\n"
        "    while (fread(&word, 4, 1, stdin) == 1) puts(class_names[classify(word)]);\n"
        "}\n"
    )
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-I", SOURCES)
    run("gcc", *flags, "-o", tmp_path / "driver", tmp_path / "driver.c")
    lines = {
        name: [line.strip() for line in text.replace("\n", ";").split(";") if line.strip()]
        for name, text in INSTRUCTIONS.items()
    }
    source = ARCHITECTURE + "".join(f"{line}\n" for some in lines.values() for line in some)
    run(f"{CROSS}as", "-o", tmp_path / "all.o", "-", input=source)
    run(f"{CROSS}objcopy", "-O", "binary", tmp_path / "all.o", tmp_path / "all.bin")
    with (tmp_path / "all.bin").open("rb") as words:
        told = run(tmp_path / "driver", stdin=words, capture_output=True).stdout.split()
    wanted = [(name, line) for name, some in lines.items() for line in some]
    assert len(told) == len(wanted)
    wrong = [
        (line, name, got) for (name, line), got in zip(wanted, told, strict=True) if name != got
    ]
    assert not wrong
