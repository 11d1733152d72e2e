"""Objectives: what the optimizers are let loose on. They know no optimizer."""
