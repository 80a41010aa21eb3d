"""python -m reliability COMMAND: one part of docs/reliability.md, from the folder of the tests."""

import sys

from . import golden

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "golden":
        line = golden.write(" ".join(arguments))
        golden.log(line)
        print(line)
