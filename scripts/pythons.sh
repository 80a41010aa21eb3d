#!/bin/sh
# pythons.sh PYTHON FOLDER all|decode: test every supported Python that is installed.
# all: the whole suite. decode: without torch; a file that PYTHON encodes must decode to the same picture everywhere.
set -eu
python=$1 folder=$(mkdir -p "$2" && realpath "$2") what=$3
if [ "$what" = decode ]; then
	"$python" -m combiner_codec encode assets/samples/hippos-64x48.png -o "$folder/x.cmb" --effort fast -q
	"$python" -m combiner_codec decode "$folder/x.cmb" -o "$folder/x.bmp" -q
fi
for version in 3.10 3.11 3.12 3.13; do
	found=
	for one in "python$version" "$HOME"/.pyenv/versions/$version.*/bin/python$version; do
		if [ -z "$found" ] && "$one" -c "" 2> /dev/null; then found=$one; fi
	done
	if [ -z "$found" ]; then
		echo "Python $version: not installed"
		continue
	fi
	env=$folder/$version
	test -d "$env" || "$found" -m venv "$env"
	if [ "$what" = all ]; then
		"$env/bin/pip" install -q --disable-pip-version-check '.[dev]'
		"$env/bin/python" -m pytest -q
	else
		"$env/bin/pip" install -q --disable-pip-version-check numpy pillow click rich
		"$env/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall .
		(cd "$folder" && "$version/bin/combiner" decode x.cmb -o "$version.bmp" -q && cmp x.bmp "$version.bmp")
		"$env/bin/combiner" info "$folder/x.cmb" > /dev/null
	fi
	echo "Python $version: passed ($("$env/bin/python" -V))"
done
