"""python -m combiner_codec"""

from .command.cli import main

main()
