"""The `combiner` command: options, jobs, files, terminal."""
