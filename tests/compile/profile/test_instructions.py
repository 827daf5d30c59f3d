# SPDX-License-Identifier: Apache-2.0
"""Encodings of an assembler, decoded: every group of instructions that kernels may use."""

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from codeq_compile.build import tools
from codeq_compile.profile.instructions import CLASSES, Instruction, Kind, decode
from tests.boards import found

THUMB1 = {
    Kind.ALU: """
        movs r0, #1; adds r0, r1, r2; subs r0, #3; cmp r0, r1; mov r8, r1; add r8, r1
        lsls r0, r1, #2; asrs r0, r1; orrs r0, r1; mvns r0, r1; adr r0, 1f; .balign 4
        1: add r0, sp, #4; sub sp, #8
        sxtb r0, r1; uxth r0, r1; rev r0, r1; nop
    """,
    Kind.MULTIPLY: "muls r0, r1, r0",
    Kind.LOAD: """
        ldr r0, [r1]; ldrb r0, [r1, #31]; ldrh r0, [r1, #2]; ldr r0, [sp, #4]; ldr r0, [pc, #4]
        ldr r0, [r1, r2]; ldrb r0, [r1, r2]; ldrh r0, [r1, r2]; ldrsb r0, [r1, r2]
        ldrsh r0, [r1, r2]
    """,
    Kind.STORE: """
        str r0, [r1]; strb r0, [r1, #31]; strh r0, [r1, #2]; str r0, [sp, #4]; str r0, [r1, r2]
        strb r0, [r1, r2]; strh r0, [r1, r2]
    """,
    Kind.LOAD_MULTIPLE: "pop {r4, r5}; pop {r4, pc}; ldmia r0!, {r1, r2}",
    Kind.STORE_MULTIPLE: "push {r4, r5}; push {r4, lr}; stmia r0!, {r1, r2}",
    Kind.BRANCH: "1: b 1b; beq 1b; bgt 1b; bx lr; blx r3; mov pc, r1; add pc, r1; bl 1b",
}
THUMB2 = {
    Kind.ALU: """
        add.w r0, r1, r2, lsl #3; orr r0, r1, #255; movw r0, #1234; movt r0, #1; bfi r0, r1, #2, #3
        ubfx r0, r1, #2, #3; ssat r0, #8, r1; usat r0, #8, r1, asr #3; sxtb.w r0, r8; uxth.w r0, r8
        lsl.w r0, r1, r2; clz r0, r1; rbit r0, r1; rev16.w r0, r8; it eq; moveq r0, #1; dmb; isb
        mrs r0, primask; rsb r0, r1, #0; mvn.w r0, r1, ror #8; adr.w r0, 1f; 1: sub.w sp, sp, #400
    """,
    Kind.MULTIPLY: "mul r0, r1, r8; mla r0, r1, r2, r3; mls r0, r1, r2, r3",
    Kind.MULTIPLY_LONG: "smull r0, r1, r2, r3; umull r0, r1, r2, r3; smlal r0, r1, r2, r3",
    Kind.DIVIDE: "sdiv r0, r1, r2; udiv r0, r1, r2",
    Kind.LOAD: """
        ldr.w r0, [r1, #400]; ldr r0, [r1], #4; ldrb r0, [r1, #-1]!; ldrsb.w r0, [r1, #100]
        ldrsh r0, [r1], #2; ldr.w r0, [r1, r2, lsl #2]; ldr.w r0, [pc, #8]; ldrh.w r0, [r8]
    """,
    Kind.STORE: "str.w r0, [r1, #400]; str r0, [r1], #4; strb r0, [r1, #-1]!; strh.w r0, [r8]",
    Kind.LOAD_PAIR: "ldrd r0, r1, [r2]; ldrd r0, r1, [r2], #8",
    Kind.STORE_PAIR: "strd r0, r1, [r2]; strd r0, r1, [sp, #-8]!",
    Kind.LOAD_MULTIPLE: "ldmia.w r0!, {r1, r2, r8}; pop.w {r4, r8, pc}; ldmdb r0, {r1, r2}",
    Kind.STORE_MULTIPLE: "stmia.w r0!, {r1, r2, r8}; push.w {r4, r8, lr}; stmdb r0!, {r1, r2}",
    Kind.BRANCH: """
        1: cbz r0, 2f; cbnz r0, 2f; b 2f; 2: b.w 1b; beq.w 1b; tbb [pc, r0]
        tbh [r0, r1, lsl #1]
    """,
}
DSP = {
    Kind.MULTIPLY: """
        smlabb r0, r1, r2, r3; smultt r0, r1, r2; smlawb r0, r1, r2, r3; smmul r0, r1, r2
        smmlar r0, r1, r2, r3; smmls r0, r1, r2, r3
    """,
    Kind.MULTIPLY_LONG: "umaal r0, r1, r2, r3; smlalbt r0, r1, r2, r3; umlal r0, r1, r2, r3",
    Kind.DUAL_MULTIPLY: """
        smlad r0, r1, r2, r3; smladx r0, r1, r2, r3; smuad r0, r1, r2; smlsd r0, r1, r2, r3
        smusdx r0, r1, r2; smlald r0, r1, r2, r3; smlsldx r0, r1, r2, r3
    """,
    Kind.DSP: """
        sxtb16 r0, r1; sxtb16 r0, r1, ror #8; uxtb16 r0, r1; sxtab16 r0, r1, r2; uxtab r0, r1, r2
        sxtah r0, r1, r2, ror #16; sadd16 r0, r1, r2; uqsub8 r0, r1, r2; shadd16 r0, r1, r2
        sasx r0, r1, r2; qadd r0, r1, r2; qdsub r0, r1, r2; sel r0, r1, r2; usad8 r0, r1, r2
        usada8 r0, r1, r2, r3; pkhbt r0, r1, r2, lsl #16; pkhtb r0, r1, r2, asr #16
        ssat16 r0, #8, r1; usat16 r0, #8, r1
    """,
}
FLOAT = {
    Kind.FLOAT: """
        vadd.f32 s0, s1, s2; vfma.f32 s0, s1, s2; vmov s0, r0; vmov r0, s0; vmov r0, r1, d0
        vmrs apsr_nzcv, fpscr; vcvt.s32.f32 s0, s1; vcmp.f32 s0, s1
    """,
    Kind.LOAD: "vldr s0, [r0]; vldr d0, [r0, #8]",
    Kind.STORE: "vstr s0, [r0]; vstr d0, [r0, #8]",
    Kind.LOAD_MULTIPLE: "vpop {d8}; vldmia r0!, {s0-s3}",
    Kind.STORE_MULTIPLE: "vpush {d8}; vstmia r0!, {s0-s3}",
}
HELIUM = {
    Kind.VECTOR_MULTIPLY: """
        vmladav.s8 r0, q1, q2; vmladav.u8 r0, q7, q6; vmladava.s8 lr, q1, q2
        vmladavax.s8 r12, q1, q2; vmladava.s16 r0, q7, q6; vmladava.u32 r4, q1, q2
        vmlsdav.s8 r0, q1, q2
        vmlsdava.s16 r0, q1, q2; vmlaldava.s32 r0, r1, q7, q6; vmlsldav.s16 r0, r1, q1, q2
        vrmlaldavh.s32 r0, r1, q1, q2; vrmlaldavha.u32 r0, r11, q1, q2
        vrmlsldavh.s32 r0, r1, q1, q2; vmulh.s8 q0, q1, q2; vrmulh.s32 q0, q1, q2
        vmullb.s8 q0, q1, q2; vmullt.u16 q0, q1, q2; vqdmullb.s16 q0, q1, q2
        vqdmullt.s32 q0, q1, q2; vqdmullb.s16 q0, q1, r2; vmla.s8 q0, q1, r2; vmla.u32 q7, q6, r12
        vmlas.s16 q0, q1, r2; vmul.i8 q0, q1, r2; vmul.i16 q0, q1, q2; vqdmulh.s8 q0, q1, r2
        vqrdmulh.s32 q0, q1, r2; vqdmulh.s16 q0, q1, q2; vqrdmulh.s32 q0, q1, q2
        vqdmlah.s8 q0, q1, r2; vqrdmlash.s32 q0, q1, r2; vqdmladh.s8 q0, q1, q2
        vqrdmladhx.s16 q0, q1, q2; vqdmlsdh.s16 q0, q1, q2; vfma.f32 q0, q1, q2
        vfma.f32 q0, q1, r2; vfmas.f32 q0, q1, r2; vmul.f32 q0, q1, q2; vmul.f16 q0, q1, r2
        vcmul.f32 q0, q1, q2, #0; vcmla.f32 q0, q1, q2, #90
    """,
    Kind.VECTOR_ALU: """
        vaddv.s8 r0, q1; vaddva.u32 lr, q7; vaddlv.s32 r0, r1, q2; vabav.s8 r0, q1, q2
        vmaxv.s8 r0, q1; vminv.u32 r0, q1; vmaxav.s16 r0, q1; vadd.i8 q0, q1, q2
        vadd.i32 q0, q1, r2; vsub.i8 q0, q1, r2; vqadd.s8 q0, q1, q2; vqadd.s32 q0, q1, r2
        vqsub.u8 q0, q1, r2; vhadd.s8 q0, q1, q2; vhadd.s8 q0, q1, r2; vrhadd.s8 q0, q1, q2
        vhcadd.s8 q0, q1, q2, #90; vcadd.i8 q0, q1, q2, #90; vadc.i32 q0, q1, q2
        vsbc.i32 q0, q1, q2; vmax.s8 q0, q1, q2; vmin.u32 q0, q1, q2; vmaxa.s8 q0, q1
        vabd.s8 q0, q1, q2; vabs.s8 q0, q1; vneg.s32 q0, q1; vqabs.s8 q0, q1; vclz.i32 q0, q1
        vmvn q0, q1; vrev64.8 q0, q1; vand q0, q1, q2; veor q0, q1, q2; vmov.i32 q0, #0
        vmvn.i32 q0, #3; vorr.i32 q0, #3; vmov q0, q1; vdup.8 q0, r1; vdup.16 q0, r1
        vdup.32 q7, r12; vmov.32 q0[1], r0; vmov.8 q0[9], r0; vmov.s8 r0, q0[3]
        vmov.32 r0, q0[3]; vmov r0, r1, q2[2], q2[0]; vmov q2[2], q2[0], r0, r1
        vshl.i8 q0, q1, #3; vshl.s32 q0, q1, q2; vshl.s32 q0, r2; vrshl.s32 q0, r2
        vqrshl.s32 q0, r2; vshr.s32 q0, q1, #3; vrshr.s32 q0, q1, #3; vshrnb.i16 q0, q1, #3
        vshrnb.i16 q0, q1, #4; vqrshrnt.s32 q0, q1, #5; vqshrunb.s16 q0, q1, #3
        vshllb.s8 q0, q1, #3; vshllb.s8 q0, q1, #8; vmovlb.s8 q0, q1; vmovlt.u16 q0, q1
        vmovnb.i16 q0, q1; vqmovnb.s16 q0, q1; vqmovunt.s32 q0, q1; vsli.8 q0, q1, #3
        vshlc q0, r2, #3; vbrsr.8 q0, q1, r2; viwdup.u8 q0, r2, r3, #1; vidup.u32 q0, r2, #4
        vcmp.i8 eq, q0, q1; vcmp.s32 gt, q0, r1; vcmp.f32 gt, q0, r1; vpst; vaddt.i8 q0, q1, q2
        vpnot; vpsel q0, q1, q2; vctp.8 r0; vctp.32 lr; vcvt.f32.s32 q0, q1; vadd.f32 q0, q1, q2
        vsub.f32 q0, q1, r2; vmaxnmv.f32 r0, q1
    """,
    Kind.VECTOR_LOAD: """
        vldrb.8 q0, [r0]; vldrb.8 q0, [r0], #16; vldrb.8 q0, [r0, #-16]!; vldrb.s16 q0, [r0]
        vldrb.u32 q0, [r0], #4; vldrb.s32 q7, [r0, q1]; vldrh.16 q0, [r0]; vldrh.s32 q0, [r0, #2]
        vldrw.32 q0, [r0], #16; vldrw.u32 q0, [r0, q1, uxtw #2]; vldrw.u32 q0, [q1, #4]!
        vldrd.u64 q0, [q1, #8]; vld20.8 {q0, q1}, [r0]; vld43.32 {q0, q1, q2, q3}, [r0]!
    """,
    Kind.VECTOR_STORE: """
        vstrb.8 q0, [r0]; vstrb.8 q0, [r0], #16; vstrb.16 q0, [r0]; vstrb.32 q0, [r0, #3]
        vstrh.16 q0, [r0]; vstrw.32 q0, [r0]; vstrw.32 q0, [r0, q1]; vstrw.32 q0, [q1, #4]
        vst20.8 {q0, q1}, [r0]; vst43.32 {q0, q1, q2, q3}, [r0]!
    """,
    Kind.LOOP: """
        1: dls lr, r0; dlstp.8 lr, r0; wls lr, r0, 2f; wlstp.8 lr, r0, 2f; le lr, 1b; le 1b
        letp lr, 1b; 2: lctp
    """,
}
GROUPS = {
    "armv6-m": (THUMB1,),
    "armv7e-m+fp": (THUMB1, THUMB2, DSP, FLOAT),
    "armv8.1-m.main+mve.fp+fp.dp": (THUMB1, THUMB2, DSP, FLOAT, HELIUM),
}
CASES = [
    pytest.param(architecture, text, kind, id=f"{architecture}-{kind}-{number}")
    for architecture, groups in GROUPS.items()
    for number, group in enumerate(groups)
    for kind, text in group.items()
]


def decoded(architecture: str, text: str, directory: Path) -> list[Instruction]:
    """What the assembler makes of instructions, decoded from the first byte to the last."""
    compiler = found(tools.arm_cc)
    if compiler.name != "arm-none-eabi-gcc":
        pytest.skip("the list is in the syntax of arm-none-eabi-gcc: apt install gcc-arm-none-eabi")
    source, output = directory / "list.s", directory / "list.o"
    source.write_text(".syntax unified\n.thumb\n.text\n" + text.strip().replace(";", "\n") + "\n")
    command = [*compiler.command, f"-march={architecture}", "-mthumb", "-mfloat-abi=softfp"]
    subprocess.run([*command, "-c", str(source), "-o", str(output)], check=True)
    with output.open("rb") as file:
        data = ELFFile(file).get_section_by_name(".text").data()
    instructions = []
    position = 0
    while position < len(data):
        instructions.append(decode(data, position))
        position += instructions[-1].bytes
    assert len(data) == position
    return instructions


@pytest.mark.parametrize(("architecture", "text", "kind"), CASES)
def test_every_instruction_is_of_its_kind(
    architecture: str, text: str, kind: Kind, tmp_path: Path
) -> None:
    """A multiplication that counts as an addition makes a table that misleads."""
    lines = [line.strip() for line in text.replace("\n", ";").split(";") if line.strip()]
    names = [line for line in lines if not line.startswith(".balign")]

    found_kinds = [instruction.kind for instruction in decoded(architecture, text, tmp_path)]

    # an assembler fills up with NOPs
    assert dict.fromkeys(names, kind) == dict(zip(names, found_kinds, strict=False))


@pytest.mark.parametrize(
    ("text", "registers"),
    [
        ("push {r4, lr}", 2),
        ("pop {r0-r7, pc}", 9),
        ("ldmia r0!, {r1, r2, r3}", 3),
        ("ldmia.w r0!, {r1, r2, r8, r10}", 4),
        ("vpush {d8, d9}", 4),
        ("vldmia r0!, {s0-s2}", 3),
        ("ldr r0, [r1]", 0),
        ("add.w r0, r1, r8", 0),
    ],
)
def test_loads_and_stores_know_how_many_words_they_move(
    text: str, registers: int, tmp_path: Path
) -> None:
    """Each word is a cycle; a prologue is not one instruction's worth of time."""
    (instruction,) = decoded("armv7e-m+fp", text, tmp_path)

    assert registers == instruction.registers


def test_every_kind_is_in_one_class() -> None:
    """Or the classes of a table do not add up to its total."""
    listed = [kind for kinds in CLASSES.values() for kind in kinds]

    assert sorted(Kind) == sorted(listed)
