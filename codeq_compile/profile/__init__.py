# SPDX-License-Identifier: Apache-2.0
"""What each layer of an emitted library costs: counted on emulated boards, timed on real ones."""

from codeq_compile.profile.counting import LayerProfile, Part, Profile
from codeq_compile.profile.measure import SAMPLES, profile
from codeq_compile.profile.timing import LayerTiming, Timing

__all__ = ["SAMPLES", "LayerProfile", "LayerTiming", "Part", "Profile", "Timing", "profile"]
