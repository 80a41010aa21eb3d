/** Pixels as a PNG without compression, without a canvas: for Node, workers and servers. */

/** @type {(image: {width: number, height: number, data: Uint8ClampedArray}) => string} a data: URL */
export function png({ width, height, data }) {
	const opaque = data.every((value, i) => i % 4 < 3 || value === 255), channels = opaque ? 3 : 4;
	const line = 1 + width * channels, raw = new Uint8Array(height * line); // a byte before each row: no filter
	for (let i = 0; i < width * height; i++) {
		const to = Math.floor(i / width) * line + 1 + (i % width) * channels;
		for (let k = 0; k < channels; k++) raw[to + k] = data[4 * i + k];
	}
	const head = new Uint8Array([...number(width), ...number(height), 8, opaque ? 2 : 6, 0, 0, 0]);
	const parts = [chunk("IHDR", head), chunk("IDAT", stored(raw)), chunk("IEND", new Uint8Array(0))].flat();
	let text = "\x89PNG\r\n\x1a\n";
	for (const bytes of parts) {
		for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
	}
	return `data:image/png;base64,${btoa(text)}`;
}

const number = (n) => [n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255];

function chunk(name, content) {
	const named = new Uint8Array(4 + content.length);
	named.set(Array.from(name, (letter) => letter.charCodeAt(0)));
	named.set(content, 4);
	let crc = -1;
	for (const byte of named) {
		crc ^= byte;
		for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
	}
	return [number(content.length), named, number(~crc)].map((part) => Uint8Array.from(part));
}

/** A zlib stream of blocks that are not compressed. */
function stored(raw) {
	const most = 65535, parts = [0x78, 1];
	let a = 1, b = 0;
	for (const byte of raw) {
		a = (a + byte) % 65521;
		b = (b + a) % 65521;
	}
	for (let at = 0; at < raw.length; at += most) {
		const block = raw.subarray(at, at + most), size = block.length;
		parts.push(+(at + most >= raw.length), size & 255, size >> 8, ~size & 255, (~size >> 8) & 255);
		for (const byte of block) parts.push(byte);
	}
	return Uint8Array.from([...parts, ...number(b * 65536 + a)]);
}
