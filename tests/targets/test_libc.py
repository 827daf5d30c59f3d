# SPDX-License-Identifier: Apache-2.0
"""targets/common/libc.c on the host, under other names, against what Python does with bytes."""

import subprocess

import cffi
import numpy as np
import pytest

from codeq_compile.build import tools
from codeq_compile.resources import targets_dir
from tests.boards import found

FUNCTIONS = ("memcpy", "memmove", "memset", "memcmp", "strlen")
SIZES = (0, 1, 3, 4, 5, 8, 15, 16, 33)
ROOM = 64


@pytest.fixture(scope="module")
def libc(tmp_path_factory):
    """The five functions with the prefix `our_`."""
    library = tmp_path_factory.mktemp("libc") / "libc.so"
    command = [
        *found(tools.host_cc).command,
        *("-std=c99", "-O2", "-shared", "-fPIC", "-fno-builtin"),
        *(f"-D{name}=our_{name}" for name in FUNCTIONS),
        *(str(targets_dir() / "common" / "libc.c"), "-o", str(library)),
    ]
    subprocess.run(command, check=True)
    ffi = cffi.FFI()
    ffi.cdef(
        """
        void *our_memcpy(void *to, const void *from, size_t count);
        void *our_memmove(void *to, const void *from, size_t count);
        void *our_memset(void *to, int value, size_t count);
        int our_memcmp(const void *left, const void *right, size_t count);
        size_t our_strlen(const char *text);
        """
    )
    return ffi, ffi.dlopen(str(library))


def random_bytes(rng: np.random.Generator, count: int = ROOM) -> bytearray:
    return bytearray(rng.integers(0, 256, count, np.uint8).tobytes())


@pytest.mark.parametrize("size", SIZES)
def test_memcpy_and_memmove_copy_at_every_alignment(libc, rng, size):
    """Compilers copy structures with these; a wrong byte corrupts a layer's parameters."""
    ffi, library = libc
    for copy in (library.our_memcpy, library.our_memmove):
        for to in range(5):
            for source in range(5):
                content, expected = random_bytes(rng), random_bytes(rng)
                actual = bytearray(expected)
                expected[to : to + size] = content[source : source + size]
                target = ffi.from_buffer(actual) + to

                assert target == copy(target, ffi.from_buffer(content) + source, size)
                assert expected == actual


@pytest.mark.parametrize("size", SIZES)
def test_memmove_copies_onto_itself_in_both_directions(libc, rng, size):
    """Overlap is what memmove is for."""
    ffi, library = libc
    for to, source in [(8, 8), (8, 9), (9, 8), (8, 12), (12, 8), (8, 23), (23, 8)]:
        actual = random_bytes(rng)
        expected = bytearray(actual)
        expected[to : to + size] = bytes(actual[source : source + size])
        start = ffi.from_buffer(actual)

        library.our_memmove(start + to, start + source, size)

        assert expected == actual


@pytest.mark.parametrize("size", SIZES)
def test_memset_fills_exactly_the_bytes_it_is_given(libc, rng, size):
    """One byte more is the neighbour's."""
    ffi, library = libc
    for to in range(5):
        for value in (0, 0xA5, -1, 0x1FF):
            actual = random_bytes(rng)
            expected = bytearray(actual)
            expected[to : to + size] = bytes([value & 0xFF]) * size

            library.our_memset(ffi.from_buffer(actual) + to, value, size)

            assert expected == actual


def test_memcmp_orders_as_unsigned_bytes(libc):
    """128 comes after 127, whatever the sign of char."""
    _, library = libc
    for left, right in [(b"abc", b"abc"), (b"ab\x7f", b"ab\x80"), (b"b", b"a"), (b"\xff", b"\x00")]:
        expected = (left > right) - (left < right)

        assert expected == library.our_memcmp(left, right, len(left))
    assert 0 == library.our_memcmp(b"a", b"b", 0)


def test_strlen_counts_up_to_the_zero(libc):
    """File names are handed to the host with their length."""
    _, library = libc

    assert [0, 1, 6] == [library.our_strlen(text) for text in (b"", b"a", b"in.bin\0more")]
