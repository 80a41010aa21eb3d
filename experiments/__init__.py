"""This repository's own tables and figures: `python -m experiments NAME`, which `make` calls. Not in the wheel.

One module an experiment, each with its command at its end; `reliability` is what docs/reliability.md reports.
"""
