# SPDX-License-Identifier: Apache-2.0
"""What a library costs: `report.json` and the tables made of it."""
