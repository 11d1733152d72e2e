"""python -m reproductions: every stage without Snakemake."""

from reproductions.cli import main

if __name__ == "__main__":
    main()
