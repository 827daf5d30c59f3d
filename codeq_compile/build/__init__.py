# SPDX-License-Identifier: Apache-2.0
"""Processes: compilers, the host library, firmware, emulators, boards. Nothing else starts any."""
