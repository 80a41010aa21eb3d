"""Measuring: this codec beside others on the same pictures (`combiner bench`).

`pictures` reads folders and arrays, `codecs` holds the encoders and their ladders of settings, `digest` tells versions
of this one apart, `measure` runs encoders and keeps results, `quality` and `curves` compute, `report` writes tables and
plots, `command` does it all.
"""
