# SPDX-License-Identifier: Apache-2.0
"""The recipes' data sets, one module each: where it comes from, its units, grid and split."""
