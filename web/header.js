/** A file's bytes and its header: FORMAT.md, section 2. What needs no prior stands on this alone. */

const USUAL_BITS = [14, 16, 18]; // index widths that a header need not write
const MAGIC = 0xf5; // of version 1
const SHORT = 256; // bytes of a file whose checksum has one byte, at most
export const POINTS = 30; // numbers below are operating points, those from here on other kinds of planes
export const EXACT = 30;

/** A file or a prior that cannot be used; messages are those of the command. */
export class FormatError extends Error {
	name = "FormatError";
}

export function check(fine, message) {
	if (!fine) throw new FormatError(message);
}

/** Bytes of a source: bytes themselves, or a data: URL in base64. */
export function bytesOf(source) {
	if (source instanceof ArrayBuffer) return new Uint8Array(source);
	if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
	check(typeof source === "string", "neither bytes nor a data: URL");
	const [, base64] = /^data:[^,]*;base64,(.*)$/is.exec(source) ?? [];
	check(base64 !== undefined, "not a data: URL in base64");
	try {
		return Uint8Array.from(atob(decodeURIComponent(base64)), (c) => c.charCodeAt(0));
	} catch {
		throw new FormatError("its data: URL is damaged");
	}
}

export function readHeader(data) {
	const [magic = MAGIC, what, how] = data, version = magic - MAGIC + 1;
	check(version < 2 || version > 8, `format version ${version} is not supported (this is version 1): update combiner`);
	check(version === 1, "not a combiner file");
	check(data.length > 3, `truncated: ${data.length} bytes are too few for a header`);
	const inRange = (fine) => check(fine, "a header field is out of range");
	const short = data.length <= SHORT, last = data.length - (short ? 1 : 2); // where the checksum begins
	let end = 3;
	const byte = () => {
		check(end < last, "truncated in the header");
		return data[end++];
	};
	const varint = (bits) => {
		for (let value = 0n, shift = 0n; ; shift += 7n) {
			const next = byte();
			value |= BigInt(next & 127) << shift;
			inRange(!(value >> bits));
			if (next > 127) continue;
			check(next || !shift, "a header field is not in its shortest form");
			return value;
		}
	};
	const side = (usual) => (usual ? 0 : Number(varint(20n)) + 1);
	const number = what >> 4, channels = (what >> 2) & 3, points = [how & 31];
	const hash = number === 15 && [0, 0, 0, 0].map(() => byte().toString(16).padStart(2, "0")).join("");
	const width = side(how & 64), height = side(how & 128);
	let indexBits = USUAL_BITS[what & 3], seed = 0n;
	if (!indexBits) {
		indexBits = byte();
		seed = varint(63n);
		inRange(indexBits >= 8 && indexBits <= 22 && indexBits % 2 === 0 && (seed || !USUAL_BITS.includes(indexBits)));
	}
	inRange((!number === (points[0] === EXACT)) && (channels < 3 || points[0] < POINTS));
	const axes = channels === 3 && [0, 0, 0].map(() => (byte() << 24) >> 24);
	const alpha = how & 32 && byte();
	if (how & 32) points.push(alpha & 31);
	const grey = channels % 3 > 0, oneChannel = channels === 1; // the first: of what is coded; the second: of what is shown
	return { number, hash, grey, oneChannel, width, height, indexBits, seed, axes, points, sharpness: alpha >> 5, end, short, last };
}
