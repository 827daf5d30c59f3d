# SPDX-License-Identifier: Apache-2.0
"""A small Cortex-M board on the unicorn engine: a program, never imported.

Takes the place of qemu-system-arm where that is not installed: same image, same semihosting, same
exit status. It runs as a process of its own because the engine is under GPLv2.
"""

import argparse
import io
import struct
import sys
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

SYSTEM_CONTROL_SPACE = (0xE000E000, 0x1000)
NULL_PAGE_BYTES = 4096
"""codeq_null_bytes of targets/common/sections.ld: holds nothing but the vectors."""

BKPT_SEMIHOSTING = b"\xab\xbe"
ADP_STOPPED_APPLICATION_EXIT = 0x20026

# Semihosting operations, and the two modes of SYS_OPEN that the firmware uses.
SYS_OPEN, SYS_CLOSE, SYS_WRITE0, SYS_WRITE, SYS_READ, SYS_SEEK = 0x01, 0x02, 0x04, 0x05, 0x06, 0x0A
SYS_EXIT_EXTENDED = 0x20
OPEN_MODES = {1: "rb", 5: "wb"}

FIRST_HANDLE = 3
"""0 to 2 are the console."""

STATUS_NO_EXIT = 1
STATUS_FAULT = 105
"""Exit status that targets/common/fault.c gives a BusFault."""


class Board:
    """One core, flash, RAM and the host's files.

    Parameters
    ----------
    cpu : str
        ``"M0"``, ``"M3"``, ``"M4"``, ``"M7"`` or ``"M33"``.
    flash, ram : tuple of int
        Origin and bytes.
    """

    def __init__(self, cpu: str, flash: tuple[int, int], ram: tuple[int, int]) -> None:
        self.status: int | None = None
        self._flash_origin = flash[0]
        self._files: dict[int, io.FileIO] = {}
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        engine.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_CORTEX_{cpu}"))
        engine.mem_map(*flash, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(*ram, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        # Plain memory: reads 0, so that the firmware finds no MPU.
        engine.mem_map(*SYSTEM_CONTROL_SPACE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        engine.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_invalid_access)
        self._engine = engine

    def load(self, elf: Path) -> None:
        """Write the image's segments to where they are stored."""
        with elf.open("rb") as file:
            for segment in ELFFile(file).iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self._engine.mem_write(segment["p_paddr"], segment.data())

    def run(self) -> int:
        """From reset to the firmware's exit status."""
        stack, entry = self._words(self._flash_origin, 2)
        if self._flash_origin == 0:
            self._engine.mem_protect(0, NULL_PAGE_BYTES, unicorn.UC_PROT_NONE)
        self._engine.reg_write(arm_const.UC_ARM_REG_SP, stack)
        try:
            self._engine.emu_start(entry | 1, 0xFFFFFFFE)
        except unicorn.UcError as exc:
            if self.status is None:
                self._fault(str(exc))
        return STATUS_NO_EXIT if self.status is None else self.status

    def _read(self, address: int, size: int) -> bytes:
        return bytes(self._engine.mem_read(address, size))

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self._read(address, 4 * count))

    def _fault(self, what: str) -> None:
        pc = self._engine.reg_read(arm_const.UC_ARM_REG_PC)
        sp = self._engine.reg_read(arm_const.UC_ARM_REG_SP)
        print(f"FAULT {what} at pc {pc:08x}, sp {sp:08x}")
        self.status = STATUS_FAULT

    def _on_invalid_access(
        self, _engine: unicorn.Uc, _access: int, address: int, size: int, _value: int, _data: object
    ) -> bool:
        self._fault(f"access of {size} bytes to {address:08x}")
        return False

    def _on_exception(self, engine: unicorn.Uc, number: int, _data: object) -> None:
        pc = engine.reg_read(arm_const.UC_ARM_REG_PC)
        if self._read(pc, 2) != BKPT_SEMIHOSTING:
            self._fault(f"exception {number}")
            engine.emu_stop()
            return
        operation = engine.reg_read(arm_const.UC_ARM_REG_R0)
        argument = engine.reg_read(arm_const.UC_ARM_REG_R1)
        if operation == SYS_EXIT_EXTENDED:
            _, self.status = self._words(argument, 2)
            engine.emu_stop()
            return
        result = self._semihost(operation, argument)
        engine.reg_write(arm_const.UC_ARM_REG_R0, result & 0xFFFFFFFF)
        engine.reg_write(arm_const.UC_ARM_REG_PC, (pc + 2) | 1)

    def _semihost(self, operation: int, argument: int) -> int:
        if operation == SYS_WRITE0:
            print(self._text(argument), end="")
            return 0
        first, second, third = self._words(argument, 3)
        if operation == SYS_OPEN:
            return self._open(self._read(first, third).decode(), second)
        file = self._files.get(first)
        if file is None:
            return -1
        if operation == SYS_CLOSE:
            file.close()
            return 0
        if operation == SYS_SEEK:
            file.seek(second)
            return 0
        if operation == SYS_WRITE:
            return third - (file.write(self._read(second, third)) or 0)
        if operation == SYS_READ:
            data = file.read(third)
            self._engine.mem_write(second, data)
            return third - len(data)
        return -1

    def _open(self, path: str, mode: int) -> int:
        if mode not in OPEN_MODES:
            return -1
        handle = FIRST_HANDLE + len(self._files)
        try:
            self._files[handle] = io.FileIO(path, OPEN_MODES[mode])
        except OSError:
            return -1
        return handle

    def _text(self, address: int) -> str:
        text = bytearray()
        while (byte := self._read(address + len(text), 1)) != b"\0":
            text += byte
        return text.decode(errors="replace")


def main(arguments: list[str]) -> int:
    """Run an image; the firmware's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("elf", type=Path)
    parser.add_argument("--cpu", required=True)
    for memory in ("--flash", "--ram"):
        parser.add_argument(
            memory, nargs=2, required=True, metavar=("ORIGIN", "BYTES"), type=lambda n: int(n, 0)
        )
    options = parser.parse_args(arguments)
    board = Board(options.cpu, tuple(options.flash), tuple(options.ram))
    board.load(options.elf)
    return board.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
