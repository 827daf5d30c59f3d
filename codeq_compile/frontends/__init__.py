# SPDX-License-Identifier: Apache-2.0
"""Readers of foreign model files: each gives a quantized graph."""
