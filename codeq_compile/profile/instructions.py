# SPDX-License-Identifier: Apache-2.0
"""What kind of instruction a Thumb encoding is: Armv6-M, Armv7E-M, Armv8.1-M with Helium."""

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """Instructions that take the same time, as far as an estimate goes."""

    ALU = "alu"
    MULTIPLY = "multiply"
    MULTIPLY_LONG = "multiply_long"
    DIVIDE = "divide"
    DUAL_MULTIPLY = "dual_multiply"
    DSP = "dsp"
    LOAD = "load"
    LOAD_PAIR = "load_pair"
    LOAD_MULTIPLE = "load_multiple"
    STORE = "store"
    STORE_PAIR = "store_pair"
    STORE_MULTIPLE = "store_multiple"
    BRANCH = "branch"
    LOOP = "loop"
    FLOAT = "float"
    VECTOR_LOAD = "vector_load"
    VECTOR_STORE = "vector_store"
    VECTOR_MULTIPLY = "vector_multiply"
    VECTOR_ALU = "vector_alu"


CLASSES: dict[str, tuple[Kind, ...]] = {
    "load": (Kind.LOAD, Kind.LOAD_PAIR, Kind.LOAD_MULTIPLE),
    "store": (Kind.STORE, Kind.STORE_PAIR, Kind.STORE_MULTIPLE),
    "multiply": (Kind.MULTIPLY, Kind.MULTIPLY_LONG, Kind.DIVIDE),
    "dsp": (Kind.DUAL_MULTIPLY, Kind.DSP),
    "mve": (Kind.VECTOR_LOAD, Kind.VECTOR_STORE, Kind.VECTOR_MULTIPLY, Kind.VECTOR_ALU),
    "float": (Kind.FLOAT,),
    "branch": (Kind.BRANCH, Kind.LOOP),
    "alu": (Kind.ALU,),
}
"""Kinds by the class that a table shows. "multiply" has the divisions as well, "load" a `pop` that
returns; "dsp" is what computes on lanes of a register, packs or saturates: SMLAD, SXTB16, QADD."""

# (mask, bits, kind): the first row that fits wins.
_NARROW = (
    (0xFFC0, 0x4340, Kind.MULTIPLY),
    (0xFF00, 0x4700, Kind.BRANCH),  # BX, BLX
    (0xFF87, 0x4487, Kind.BRANCH),  # ADD pc
    (0xFF87, 0x4687, Kind.BRANCH),  # MOV pc
    (0xF800, 0x4800, Kind.LOAD),  # of a literal
    (0xFC00, 0x5000, Kind.STORE),  # STR, STRH by register
    (0xFE00, 0x5400, Kind.STORE),  # STRB by register; LDRSB is the row below
    (0xF000, 0x5000, Kind.LOAD),
    (0xE800, 0x6000, Kind.STORE),  # STR, STRB
    (0xE800, 0x6800, Kind.LOAD),
    (0xE800, 0x8000, Kind.STORE),  # STRH, STR from sp
    (0xF800, 0x8800, Kind.LOAD),
    (0xF800, 0x9800, Kind.LOAD),
    (0xF500, 0xB100, Kind.BRANCH),  # CBZ, CBNZ
    (0xFE00, 0xB400, Kind.STORE_MULTIPLE),  # PUSH
    (0xFE00, 0xBC00, Kind.LOAD_MULTIPLE),  # POP
    (0xF800, 0xC000, Kind.STORE_MULTIPLE),
    (0xF800, 0xC800, Kind.LOAD_MULTIPLE),
    (0xF000, 0xD000, Kind.BRANCH),
    (0xF800, 0xE000, Kind.BRANCH),
)

_WIDE = (
    # loads and stores of several registers
    (0xFE50_0000, 0xE810_0000, Kind.LOAD_MULTIPLE),
    (0xFE50_0000, 0xE800_0000, Kind.STORE_MULTIPLE),
    (0xFFF0_FFE0, 0xE8D0_F000, Kind.BRANCH),  # TBB, TBH
    (0xFE50_0000, 0xE850_0000, Kind.LOAD_PAIR),
    (0xFE50_0000, 0xE840_0000, Kind.STORE_PAIR),
    # shifted registers
    (0xFFE0_0000, 0xEAC0_0000, Kind.DSP),  # PKHBT, PKHTB
    (0xFE00_0000, 0xEA00_0000, Kind.ALU),
    # branches, loops, and the tail predicate between them
    (0xFFC0_FFFF, 0xF000_E801, Kind.VECTOR_ALU),  # VCTP
    (0xFF80_D001, 0xF000_C001, Kind.LOOP),  # DLS, WLS, LE, with and without a tail
    (0xF800_D000, 0xF000_D000, Kind.BRANCH),  # BL
    (0xF800_D000, 0xF000_9000, Kind.BRANCH),  # B
    (0xFB80_D000, 0xF380_8000, Kind.ALU),  # MSR, MRS, barriers, hints
    (0xF800_D000, 0xF000_8000, Kind.BRANCH),  # B<cond>
    # immediates
    (0xFF70_F0F0, 0xF320_0000, Kind.DSP),  # SSAT16, USAT16
    (0xF800_8000, 0xF000_0000, Kind.ALU),
    # one register from or to memory
    (0xFF10_0000, 0xF800_0000, Kind.STORE),
    (0xFE10_0000, 0xF810_0000, Kind.LOAD),
    # registers
    (0xFFE0_F080, 0xFA20_F080, Kind.DSP),  # SXTAB16, UXTAB16
    (0xFF8F_F080, 0xFA0F_F080, Kind.ALU),  # SXTB, UXTH
    (0xFF80_F080, 0xFA00_F080, Kind.DSP),  # SXTAB, UXTAH
    (0xFF80_F080, 0xFA80_F000, Kind.DSP),  # SADD16, UHSUB8
    (0xFFF0_F080, 0xFA80_F080, Kind.DSP),  # QADD
    (0xFFF0_F080, 0xFAA0_F080, Kind.DSP),  # SEL
    (0xFF00_0000, 0xFA00_0000, Kind.ALU),  # LSL, REV, CLZ
    (0xFFF0_0000, 0xFB20_0000, Kind.DUAL_MULTIPLY),  # SMLAD, SMUAD
    (0xFFF0_0000, 0xFB40_0000, Kind.DUAL_MULTIPLY),  # SMLSD, SMUSD
    (0xFFF0_0000, 0xFB70_0000, Kind.DSP),  # USAD8, USADA8
    (0xFF80_0000, 0xFB00_0000, Kind.MULTIPLY),
    (0xFFD0_00F0, 0xFB90_00F0, Kind.DIVIDE),
    (0xFFE0_00E0, 0xFBC0_00C0, Kind.DUAL_MULTIPLY),  # SMLALD, SMLSLD
    (0xFF80_0000, 0xFB80_0000, Kind.MULTIPLY_LONG),
    # lanes of a vector and core registers
    (0xFF90_0F10, 0xEE80_0B10, Kind.VECTOR_ALU),  # VDUP
    (0xFF00_0F10, 0xEE00_0B10, Kind.VECTOR_ALU),  # VMOV of one lane
    (0xFFE0_0F00, 0xEC00_0F00, Kind.VECTOR_ALU),  # VMOV of two
    (0xFE20_0F50, 0xFC20_0840, Kind.VECTOR_MULTIPLY),  # VCMLA
    # Helium with coprocessor 14 or 15; floating point has 8 to 11
    (0xEE10_0E00, 0xEC10_0E00, Kind.VECTOR_LOAD),
    (0xEE10_0E00, 0xEC00_0E00, Kind.VECTOR_STORE),
    (0xEF80_0F00, 0xEE80_0E00, Kind.VECTOR_MULTIPLY),  # VMLADAV, VMLALDAV
    (0xEFF0_0F00, 0xEEE0_0F00, Kind.VECTOR_ALU),  # VMAXV, VMINAV
    (0xEF81_0F51, 0xEE80_0F00, Kind.VECTOR_MULTIPLY),  # VMLADAV.S8, VRMLALDAVH
    (0xEFB0_0F41, 0xEE30_0E01, Kind.VECTOR_ALU),  # VMOVN, VQMOVN, VMAXA
    (0xEFB0_1F60, 0xEE30_1E60, Kind.VECTOR_ALU),  # VSHL by a register
    (0xFF81_1F60, 0xFE01_1E60, Kind.VECTOR_ALU),  # VBRSR
    (0xEF80_0F00, 0xEE00_0E00, Kind.VECTOR_MULTIPLY),  # VMULH, VMULL, VMLA, VQDMULH
    (0xEFB1_0F51, 0xEE30_0F01, Kind.VECTOR_MULTIPLY),  # VQDMULL
    (0xEFB1_0F60, 0xEE30_0F60, Kind.VECTOR_MULTIPLY),  # VQDMULL by a register
    (0xEF00_0E00, 0xEE00_0E00, Kind.VECTOR_ALU),
    (0xEF80_0F10, 0xEF00_0910, Kind.VECTOR_MULTIPLY),  # VMUL
    (0xEF80_0F10, 0xEF00_0B00, Kind.VECTOR_MULTIPLY),  # VQDMULH, VQRDMULH
    (0xEF80_0F10, 0xEF00_0C10, Kind.VECTOR_MULTIPLY),  # VFMA, VFMS
    (0xFF80_0F10, 0xFF00_0D10, Kind.VECTOR_MULTIPLY),  # VMUL of floats
    (0xEF00_0000, 0xEF00_0000, Kind.VECTOR_ALU),
    # floating point
    (0xFFE0_0E00, 0xEC40_0A00, Kind.FLOAT),  # VMOV of two registers
    (0xFF30_0E00, 0xED10_0A00, Kind.LOAD),  # VLDR
    (0xFF30_0E00, 0xED00_0A00, Kind.STORE),  # VSTR
    (0xFE10_0E00, 0xEC10_0A00, Kind.LOAD_MULTIPLE),  # VLDM, VPOP
    (0xFE10_0E00, 0xEC00_0A00, Kind.STORE_MULTIPLE),  # VSTM, VPUSH
    (0xEC00_0000, 0xEC00_0000, Kind.FLOAT),
)

_FLOATS = (0xFE00_0E00, 0xEC00_0A00)
"""Loads and stores of floating-point registers, which have a count instead of a list."""

_MULTIPLE = frozenset({Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Parameters
    ----------
    kind : Kind
    bytes : int
        2 or 4.
    registers : int
        Words that a load or store of several registers moves; else 0.
    """

    kind: Kind
    bytes: int
    registers: int


def decode(data: bytes, position: int) -> Instruction:
    """The instruction at `position` of little-endian Thumb code.

    Source: Armv8-M Architecture Reference Manual (DDI 0553), C2.3, of which Armv6-M and Armv7-M are
    parts.

    Parameters
    ----------
    data : bytes
    position : int
        Even.
    """
    first = int.from_bytes(data[position : position + 2], "little")
    if first >= 0xE800:
        second = int.from_bytes(data[position + 2 : position + 4], "little")
        word = first << 16 | second
        kind = _kind(_WIDE, word)
        is_float = word & _FLOATS[0] == _FLOATS[1]
        registers = second & 0xFF if is_float else second.bit_count()
        return _instruction(kind, 4, registers)
    # push and pop: bit 8 is lr or pc
    listed = 0x1FF if first & 0xF000 == 0xB000 else 0xFF
    return _instruction(_kind(_NARROW, first), 2, (first & listed).bit_count())


def _kind(rows: tuple[tuple[int, int, Kind], ...], encoding: int) -> Kind:
    return next((kind for mask, bits, kind in rows if encoding & mask == bits), Kind.ALU)


def _instruction(kind: Kind, size: int, registers: int) -> Instruction:
    return Instruction(kind=kind, bytes=size, registers=registers if kind in _MULTIPLE else 0)
