"""python -m combiner_codec"""

from .cli import main

main()
