# SPDX-License-Identifier: Apache-2.0
"""Reproducible training runs on real data: each gives a model, its accuracy and its size."""
