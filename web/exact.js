/**
 * Pictures without loss (FORMAT.md, section 3): the WebP or PNG inside a .cmb file, alone, as a mask beside a network's
 * picture, or as a layer over it. The browser unpacks it.
 */

import { pixels, readFile, sharpen } from "./core.js";
import { bytesOf, check, EXACT, FormatError, readHeader } from "./header.js";

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHUNKS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"];
const OVER = 1; // sharpness beside an exact alpha that says so
const NONE = { number: 0, digest: [], tile: 1, side: 1, points: [] }; // in the place of a prior

/**
 * Pixels of a file of any kind, as `Combiner.decode` gives those of a network's picture.
 * @param unpack pixels of a WebP or PNG, {type, data} -> {data}, four bytes each; unless given, the browser's
 */
export async function decodeAny(priors, source, { maxPixels, unpack = byBrowser } = {}) {
	const bytes = bytesOf(source);
	checkHeader(readHeader(bytes), bytes);
	const { head, planes } = readFile([...priors, NONE], bytes, { maxPixels, exact });
	const images = await Promise.all(planes.map((plane) => plane.type && unpack(plane))); // before anything is computed
	const { width, height, points, oneChannel, sharpness } = head;
	const [data, other] = planes.map((plane, i) => images[i]?.data ?? pixels(plane, width, height));
	if (points[0] === EXACT) clean(data, oneChannel, points.length > 1);
	else if (points[1] === EXACT && sharpness === OVER) lay(data, other, oneChannel);
	else if (points[1] === EXACT) for (let i = 3; i < data.length; i += 4) data[i] = other[i - 3];
	else if (other) sharpen(data, other, sharpness);
	return { width, height, data };
}

/** Leaves of a content's pixels what the header says: one channel, or all; opacity, or none. */
function clean(data, oneChannel, alpha) {
	for (let i = 0; i < data.length; i += 4) {
		if (oneChannel) data[i + 1] = data[i + 2] = data[i];
		if (!alpha) data[i + 3] = 255;
	}
}

/** Refuses fields that do not go with a plane without loss. */
function checkHeader({ points: [point, alpha], sharpness }, bytes) {
	const alone = point === EXACT;
	const usual = bytes[1] & 3 || bytes[2] >> 6;
	const fitting = !alone || (!usual && (alpha ?? EXACT) === EXACT);
	const sharp = alpha === EXACT && sharpness > (alone ? 0 : OVER);
	check(fitting && !sharp, "a header field is out of range");
}

/** Puts a layer over pixels. */
function lay(data, layer, oneChannel) {
	for (let i = 0; i < data.length; i += 4) {
		const opacity = layer[i + 3];
		check(opacity === 0 || opacity === 255, "a layer is half transparent");
		if (opacity) for (let k = 0; k < 3; k++) data[i + k] = layer[i + (oneChannel ? 0 : k)];
	}
}

/** Reads an exact plane: the type and the bytes of a file of its own, which says the header's size. */
function exact(bits, head) {
	const codec = bits.take(8);
	check(codec < 2, "an exact plane is neither VP8L nor PNG");
	let length = 0;
	for (let scale = 1, next = 128; next > 127; scale *= 128) {
		next = bits.take(8);
		length += (next & 127) * scale;
		check(length <= bits.size, "a header field is out of range");
		check(next || scale === 1, "a header field is not in its shortest form");
	}
	const end = bits.at + 8 * length;
	check(end <= bits.size, `truncated: payload of ${bits.size >> 3} bytes where ${Math.ceil(end / 8)} are expected`);
	const content = Uint8Array.from({ length }, () => bits.take(8));
	const [width, height] = codec ? sizeOfPNG(content) : sizeOfVP8L(content);
	check(width === head.width && height === head.height, "an exact plane is of another size than its file");
	if (codec) return { type: "image/png", data: new Uint8Array([...PNG, ...content]) };
	return { type: "image/webp", data: webp(content) };
}

function sizeOfVP8L(content) {
	check(content.length >= 5 && content[0] === 0x2f, "an exact plane is no VP8L stream");
	const fields = new DataView(content.buffer).getUint32(1, true);
	check(fields >>> 29 === 0, "an exact plane is of another size than its file");
	return [(fields & 0x3fff) + 1, ((fields >>> 14) & 0x3fff) + 1];
}

/** Of one of the chunks that are allowed. */
function sizeOfPNG(content) {
	const view = new DataView(content.buffer), names = [];
	for (let at = 0; at < content.length; ) {
		check(at + 12 <= content.length, "an exact plane is no PNG");
		names.push(String.fromCharCode(...content.subarray(at + 4, at + 8)));
		at += 12 + view.getUint32(at);
		check(at <= content.length, "an exact plane is truncated");
	}
	const once = (name) => names.filter((other) => other === name).length === 1;
	const known = names.every((name) => CHUNKS.includes(name)) && names[0] === "IHDR" && names.at(-1) === "IEND";
	const few = known && names.length > 2 && once("IHDR") && once("IEND") && view.getUint32(0) === 13;
	check(few, "an exact plane has other chunks than a PNG needs");
	check(content[16] <= 8, "an exact plane has more than 8 bits a channel");
	return [view.getUint32(8), view.getUint32(12)];
}

/** Pixels by the browser's own decoder: those half transparent as its canvas has them, a step off at times. */
async function byBrowser({ type, data }) {
	const here = globalThis.createImageBitmap && globalThis.OffscreenCanvas;
	check(here, "a WebP or PNG is inside, and nothing here decodes it: Node has no decoder, browsers have");
	try {
		const how = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
		const image = await createImageBitmap(new Blob([data], { type }), how);
		const { width, height } = image;
		const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
		context.drawImage(image, 0, 0);
		return context.getImageData(0, 0, width, height);
	} catch {
		throw new FormatError("an exact plane is damaged");
	}
}

/**
 * The picture file inside, or null for a file that is a network's picture, whatever lies beside or over that.
 * @type {(bytes: Uint8Array) => { type: string, data: Uint8Array } | null}
 */
export function pictureInside(bytes) {
	const head = readHeader(bytes);
	checkHeader(head, bytes);
	if (head.points[0] !== EXACT) return null;
	return readFile([NONE], bytes, { maxPixels: Infinity, exact }).planes[0];
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
