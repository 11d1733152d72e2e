"""Re-derive the figures of classic papers on optimisation for deep learning and judge their claims."""
