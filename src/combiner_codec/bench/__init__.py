"""Measuring: this codec beside others on the same pictures (`combiner bench`, `make bench-cifar`, `make bench-kodak`).

`pictures` reads folders and arrays, `codecs` holds the encoders and their ladders of settings, `measure` runs and
keeps results, `quality` and `curves` compute, `report` writes tables and plots, `rates` finds the beta for a file
size; `cifar` and `kodak` are the project's own tables.
"""
