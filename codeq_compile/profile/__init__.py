# SPDX-License-Identifier: Apache-2.0
"""What an emitted library executes: counted on emulated boards, layer by layer."""

from codeq_compile.profile.measure import SAMPLES, LayerProfile, Part, Profile, profile

__all__ = ["SAMPLES", "LayerProfile", "Part", "Profile", "profile"]
