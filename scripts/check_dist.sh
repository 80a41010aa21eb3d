#!/bin/sh
# check_dist.sh PYTHON FOLDER WHEEL SDIST: install each into an empty environment and use it from an empty folder.
set -eu
python=$1 folder=$2 wheel=$(realpath "$3") sdist=$(realpath "$4") picture=$(realpath assets/samples/architecture-32.png)
rm -rf "$folder" && mkdir -p "$folder/work"
"$python" -m venv "$folder/env"
"$python" -m venv "$folder/decode"
bin=$(realpath "$folder/env/bin")
constraints=$(realpath constraints.txt)
folder=$(realpath "$folder")
cd "$folder/work"
unset PYTHONPATH

check() {
	"$bin/combiner" encode "$picture" -o x.cmb --effort fast -q
	"$bin/combiner" info x.cmb > /dev/null
	"$bin/combiner" decode x.cmb -o x.png -q
	"$bin/python" -c "
import combiner_codec, sys
from PIL import Image
assert combiner_codec.__file__.startswith(sys.prefix), combiner_codec.__file__
combiner_codec.register_pillow()
assert Image.open('x.cmb').size == Image.open('x.png').size == (32, 32)
"
	echo "$1 works: $("$bin/combiner" --version)"
}

"$bin/pip" install -q --disable-pip-version-check -c "$constraints" "$wheel"
check "$(basename "$wheel")"
"$bin/pip" uninstall -q --disable-pip-version-check -y combiner-codec
"$bin/pip" install -q --disable-pip-version-check --no-deps "$sdist"
check "$(basename "$sdist")"

# decoding alone, without torch
"$folder/decode/bin/pip" install -q --disable-pip-version-check numpy pillow click rich
"$folder/decode/bin/pip" install -q --disable-pip-version-check --no-deps "$wheel"
"$folder/decode/bin/combiner" decode x.cmb -o y.png -q
cmp x.png y.png
"$folder/decode/bin/combiner" info x.cmb > /dev/null
if "$folder/decode/bin/combiner" encode "$picture" -o z.cmb 2> said; then exit 1; fi
grep -q "needs the package torch" said
echo "decoding works without torch"
