"""The experiments of Armenta et al. 2023; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/armenta2021teleport.yaml.
"""

from __future__ import annotations
