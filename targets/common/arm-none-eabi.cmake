# SPDX-License-Identifier: Apache-2.0
# Toolchain file for arm-none-eabi-gcc; the core's flags come from targets/<board>/target.toml.
#
#   cmake -B build -DCMAKE_TOOLCHAIN_FILE=targets/common/arm-none-eabi.cmake -DCODEQ_TARGET=mps2_an386
set(CODEQ_TARGET mps2_an386 CACHE STRING "Board: a folder of targets/")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CODEQ_TARGET)

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # there is no C library to link a program with
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

set(codeq_target_file "${CMAKE_CURRENT_LIST_DIR}/../${CODEQ_TARGET}/target.toml")
if(NOT EXISTS "${codeq_target_file}")
  message(FATAL_ERROR "CODEQ_TARGET=${CODEQ_TARGET}: there is no ${codeq_target_file}")
endif()
file(STRINGS "${codeq_target_file}" codeq_core_flags REGEX "^gcc_flags = ")
string(REGEX MATCHALL "-[^\"]+" codeq_core_flags "${codeq_core_flags}")
if(NOT codeq_core_flags)
  message(FATAL_ERROR "CODEQ_TARGET=${CODEQ_TARGET} is not a Cortex-M: it has no gcc_flags")
endif()
list(JOIN codeq_core_flags " " codeq_core_flags)

# -ffreestanding takes gcc's own stdint.h, so that no C library is needed; -fbuiltin keeps memcpy
# of four bytes one instruction.
set(CMAKE_C_FLAGS_INIT "${codeq_core_flags} -ffreestanding -fbuiltin")
