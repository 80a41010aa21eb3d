#!/usr/bin/env bash
# debian_pictures.sh OUT: pictures from Debian packages, and the packages' licences, for make bench-graphics. Needs apt-get.
#   gnome-user-docs: CC BY-SA 3.0; tango-icon-theme: public domain
set -euo pipefail
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
cd "$work"
apt-get download -q gnome-user-docs tango-icon-theme
for package in *.deb; do
	name=${package%%_*}
	dpkg-deb -x "$package" files
	cp "files/usr/share/doc/$name/copyright" "$out/$name.copyright"
done
for figure in shell-appts screenshot-tool color-space color-camera shell-activities-dash; do
	cp "files/usr/share/help/C/gnome-help/figures/$figure.png" "$out"
done
for icon in apps/accessories-calculator devices/camera-photo; do
	cp "files/usr/share/icons/Tango/32x32/$icon.png" "$out"
done
