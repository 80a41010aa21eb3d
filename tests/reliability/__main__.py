"""One part of docs/reliability.md, called from the folder of the tests.

python -m reliability golden WHY               golden files anew
python -m reliability hostile [EDITS MUTATIONS]
python -m reliability hard
python -m reliability drift [PYTHON ...]       PYTHONs have other versions of numpy
"""

import sys

from . import drift, golden, hard, hostile


def put(part: str, text: str) -> None:
    """Replace one part of docs/reliability.md."""
    path, begin, end = golden.ROOT / "docs" / "reliability.md", f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    head, rest = path.read_text().split(begin)
    path.write_text(f"{head}{begin}\n{text.strip()}\n\n{end}{rest.split(end)[1]}")
    print(text)


def main(command: str = "", *arguments: str) -> None:
    match command:
        case "golden":
            line = golden.write(" ".join(arguments))
            golden.log(line)
            print(line)
        case "hostile":
            put("hostile", hostile.report(*map(int, arguments)))
        case "hard":
            put("hard", hard.report())
        case "drift":
            put("drift", drift.report(list(arguments)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
