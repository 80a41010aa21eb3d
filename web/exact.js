// Pictures without loss (FORMAT.md, section 3): the WebP or PNG inside a .cmb file, which a browser shows by itself.

const MAGIC = [0xcb, 0x4d], EXACT = 30;
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * The picture file inside, or null for a file that holds a network's weights.
 * @type {(bytes: Uint8Array) => { type: string, data: Uint8Array } | null}
 */
export function pictureInside(bytes) {
	if (MAGIC.some((value, i) => bytes[i] !== value)) throw new Error("not a combiner file");
	if ((bytes[3] & 31) !== EXACT) return null;
	let at = 4;
	const varint = () => {
		for (let value = 0, scale = 1; ; scale *= 128) {
			const next = bytes[at++];
			value += (next & 127) * scale;
			if (next < 128) return value;
			if (!(at < bytes.length - 2)) throw new Error("truncated");
		}
	};
	varint(); // width
	varint(); // height
	if (bytes[3] & 32) at++; // alpha, which the content has
	const codec = bytes[at++];
	const length = varint();
	if (codec > 1 || at + length !== bytes.length - 2) throw new Error("truncated");
	const content = bytes.subarray(at, at + length);
	if (codec) return { type: "image/png", data: new Uint8Array([...PNG, ...content]) };
	return { type: "image/webp", data: webp(content) };
}

/** A WebP file from its VP8L stream. */
function webp(stream) {
	const size = stream.length + (stream.length % 2);
	const data = new Uint8Array(20 + size), view = new DataView(data.buffer);
	const text = (at, word) => [...word].forEach((letter, i) => (data[at + i] = letter.charCodeAt(0)));
	text(0, "RIFF");
	view.setUint32(4, 12 + size, true);
	text(8, "WEBPVP8L");
	view.setUint32(16, stream.length, true);
	data.set(stream, 20);
	return data;
}
