# SPDX-License-Identifier: Apache-2.0
"""Writers of foreign model files: each takes a quantized graph."""
