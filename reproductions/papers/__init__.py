"""One folder a paper: README.md, experiment.py, figures.py, claims.yaml."""
