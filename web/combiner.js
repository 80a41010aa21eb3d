/**
 * Decoder of .cmb pictures for browsers and Node, from FORMAT.md; README.md beside this file tells how to use it.
 * bytes -> header -> classes of tiles -> indices -> latents -> field -> pixels. Integers are exact, pictures of every size
 * are computed in double precision.
 */

const { ceil, cos, floor, max, min, sin, sqrt } = Math;
const floats = (length) => new Float64Array(length);

const MAX_PIXELS = 2 ** 24; // larger pictures are refused unless a call allows them
const CUSTOM = 15; // prior number of a file that names its prior by hash
const ONE_COLOUR = 31; // point of a plane that is the same everywhere
const USUAL_BITS = [14, 16, 18]; // index widths that a header need not write
const WORD = 2 ** 32;

/** A file or a prior that cannot be used; messages are those of the command. */
export class FormatError extends Error {
	name = "FormatError";
}

function check(fine, message) {
	if (!fine) throw new FormatError(message);
}

/** A decoder with the priors that it knows. */
export class Combiner {
	/** @param {...Uint8Array} files priors for the web */
	constructor(...files) {
		this.priors = files.map(readPrior);
	}

	/**
	 * A decoder with the priors of some addresses. The first that a page loads also serves its <img-cmb> elements.
	 * @param {...(string|URL)} urls
	 * @returns {Promise<Combiner>}
	 */
	static async load(...urls) {
		const combiner = new Combiner(...(await Promise.all(urls.map(fetched))));
		first.resolve(combiner);
		return combiner;
	}

	/**
	 * Pixels of a file, four bytes each; grey ones have three equal values.
	 * @param {Uint8Array|string} source bytes, or a data: URL
	 * @param {{maxPixels?: number}} [options] larger pictures are refused
	 * @returns {ImageData} outside browsers an object of width, height and data
	 * @throws {FormatError} on anything that is not a whole, undamaged file
	 */
	decode(source, { maxPixels = MAX_PIXELS } = {}) {
		const { head, planes } = this.parse(typeof source === "string" ? bytesOf(source) : source, maxPixels);
		const { width, height, sharpness } = head;
		const data = new Uint8ClampedArray(4 * width * height).fill(255);
		const [colour, alpha] = planes.map((plane) => pixels(plane, width, height));
		const channels = head.channels ? 1 : 3;
		for (let i = 0; i < width * height; i++) {
			for (let c = 0; c < 3; c++) data[4 * i + c] = colour[channels * i + (c % channels)];
			if (alpha) data[4 * i + 3] = ((2 * alpha[i] - 255) * 2 ** sharpness + 255) >> 1;
		}
		return globalThis.ImageData ? new ImageData(data, width, height) : { width, height, data };
	}

	/**
	 * The same as the data: URL of a PNG, for `src` of an <img>; in browsers only.
	 * @returns {string}
	 */
	toDataURL(source, options) {
		return painted(this.decode(source, options)).toDataURL();
	}

	/** Header and planes; nothing much larger than the file is allocated. */
	parse(data, maxPixels) {
		const head = readHeader(data);
		const fits = ({ width, height }) =>
			check(width * height <= maxPixels, `${width} x ${height} pixels are more than ${maxPixels}`);
		fits(head);
		const prior = this.prior(head);
		head.width ||= prior.tile * prior.side;
		head.height ||= prior.tile * prior.side;
		fits(head);
		check(
			data.at(-2) + 256 * data.at(-1) === crc16(data.subarray(0, -2), crc16(prior.digest)),
			"checksum mismatch: the file is damaged, or it was made with another prior of this name: " +
				"get the file again, or decode it with the version of combiner that made it",
		);
		const bits = new Bits(data.subarray(head.end, -2));
		const planes = [readPlane(bits, head, prior, head.point, head.channels > 0)];
		if (head.alpha !== null) planes.push(readPlane(bits, head, prior, head.alpha, true));
		const need = ceil(bits.at / 8);
		const whole = 8 * need === bits.size && bits.number(bits.at, bits.size) === 0;
		check(whole, `payload of ${bits.size / 8} bytes where ${need} are expected`);
		return { head, planes };
	}

	/** The prior that a header names. */
	prior({ number, hash }) {
		const prior = this.priors.find((own) => own.number === number && (hash ?? own.hash) === own.hash);
		check(prior || number !== CUSTOM, `made with a custom prior of hash ${hash}: name its file`);
		check(prior, `unknown prior ${number}: the file is damaged, or newer than this version: update combiner`);
		return prior;
	}
}

// Section 2: header

function readHeader(data) {
	const [magic, letter, what, how] = data;
	const version = letter - 0x4c;
	const later = magic === 0xcb && version > 1 && version <= 14;
	check(!later, `format version ${version} is not supported (this is version 1): update combiner`);
	check((magic ?? 0xcb) === 0xcb && (letter ?? 0x4d) === 0x4d, "not a combiner file");
	check(data.length >= 6, `truncated: ${data.length} bytes are too few for a header`);
	const inRange = (fine) => check(fine, "a header field is out of range");
	let end = 4;
	const byte = () => {
		check(end < data.length - 2, "truncated in the header");
		return data[end++];
	};
	const varint = (largest) => {
		for (let value = 0n, shift = 0n; ; shift += 7n) {
			const next = byte();
			value |= BigInt(next & 127) << shift;
			inRange(value <= largest);
			if (next > 127) continue;
			check(next || !shift, "a header field is not in its shortest form");
			return value;
		}
	};
	const side = () => Number(varint(2n ** 20n - 1n)) + 1;
	const head = { number: what >> 4, channels: (what >> 2) & 3, point: how & 31, seed: 0n, alpha: null, sharpness: 0 };
	inRange(head.channels < 3);
	if (head.number === CUSTOM) head.hash = hex([byte(), byte(), byte(), byte()]);
	head.width = what & 1 ? 0 : side(); // 0: the usual one
	head.height = what & 2 ? 0 : side();
	head.indexBits = USUAL_BITS[how >> 6];
	if (!head.indexBits) {
		const width = (head.indexBits = byte());
		head.seed = varint(2n ** 63n - 1n);
		inRange(width >= 8 && width <= 22 && width % 2 === 0 && (head.seed || !USUAL_BITS.includes(width)));
	}
	if (how & 32) {
		const plane = byte();
		Object.assign(head, { alpha: plane & 31, sharpness: plane >> 5 });
	}
	return { ...head, end };
}

function crc16(data, value = 0xffff) {
	for (const byte of data) {
		value ^= byte << 8;
		for (let i = 0; i < 8; i++) value = ((value << 1) ^ (0x1021 * (value >> 15))) & 0xffff;
	}
	return value;
}

// Section 3: payload

/** The payload's bits, and how many have been read. */
class Bits {
	at = 0;

	constructor(bytes) {
		this.bytes = bytes;
		this.size = 8 * bytes.length;
	}

	/** Bit `i`, 0 after the last one. */
	bit(i) {
		return (this.bytes[i >> 3] >> (7 - (i & 7))) & 1;
	}

	/** The number in some bits, the highest first. */
	number(from, end) {
		let value = 0;
		for (let i = from; i < end; i++) value = value * 2 + this.bit(i);
		return value;
	}
}

/** What a plane's bits say: its one value, or classes of tiles and where every block's stream starts. */
function readPlane(bits, head, prior, number, grey) {
	const { at, size } = bits;
	const [left, channels] = [size - at, grey ? 1 : 3];
	if (number === ONE_COLOUR) {
		bits.at += 8 * channels;
		check(bits.at <= size, "truncated in the picture's colour");
		return { channels, value: [0, 8, 16].map((i) => bits.number(at + i, at + i + 8)) };
	}
	const { groupBits, indexBits, side, tile } = prior;
	const point = prior.point(number, grey);
	const coder = groupBits < indexBits ? head.indexBits >= groupBits : head.indexBits === indexBits;
	check(coder, `prior ${prior.name} cannot have made this file`);
	const [rows, columns] = [ceil(head.height / tile), ceil(head.width / tile)];
	const own = modulations(point, head.width * head.height);
	const modulated = own && bits.bit(bits.at++);
	const few = point.count === 1 && rows * columns > side * side * (size - bits.at);
	check(!few, `truncated: ${left >> 3} bytes are too few for ${rows} x ${columns} tiles`);
	const classes = (point.contexts ? classMap : classNumbers)(bits, max(0, size - bits.at), rows, columns, point);
	const across = ceil(columns / side); // blocks
	const plane = { head, prior, point, channels, rows, columns, classes, across, bits, starts: [] };
	if (modulated) {
		plane.own = { start: bits.at, ...grouped(own, order(own.length), prior) };
		bits.at += groupBits * plane.own.groups;
	}
	for (let block = 0; block < across * ceil(rows / side); block++) {
		plane.starts.push(bits.at);
		bits.at += groupBits * partition(plane, block).groups;
	}
	const need = ceil((bits.at - at) / 8);
	check(bits.at <= size, `truncated: payload of ${left >> 3} bytes where ${need} are expected`);
	return plane;
}

/** Cost indices of modulations of a picture of so many pixels, if it can have some. */
function modulations({ modulation_kl, modulation_scale }, pixels) {
	if (!modulation_kl || pixels <= 16384) return null;
	const size = modulation_scale.length;
	const row = min(floor(Math.log2(floor(pixels / 16384))), modulation_kl.length / size - 1);
	return modulation_kl.subarray(size * row, size * (row + 1));
}

function classNumbers(bits, left, rows, columns, { count }) {
	const [tiles, width] = [rows * columns, 32 - Math.clz32(count - 1)];
	check(tiles * width <= left, `truncated: ${tiles} tiles need more than ${left >> 3} bytes`);
	const classes = new Uint16Array(tiles).map(() => bits.number(bits.at, (bits.at += width)));
	const known = classes.every((c) => c < count);
	check(known, "a tile names a class that its prior does not have");
	return classes;
}

const HALVING = Array.from({ length: 16 }, (_, i) => Math.round(2 ** (16 - i / 16)));

/** Arithmetic-coded classes, row by row. */
function classMap(bits, left, rows, columns, { count, single, contexts }) {
	const classes = new Uint16Array(rows * columns);
	if (count === 1) return classes;
	const tiles = `the classes of ${rows} x ${columns} tiles`;
	const enough = rows * columns * (single - 1) <= left * 2 ** (single < count ? 18 : 16);
	check(enough, `truncated: ${left} bits are too few for ${tiles}`);
	const at = (r, c) => (r < 0 || c < 0 || c >= columns ? count : classes[r * columns + c]);
	const table = (n, neighbour) => contexts.subarray((n * (count + 1) + neighbour) * count);
	const ends = floats(count + 1);
	const part = (span, end, total) => Number((BigInt(span) * BigInt(end)) / BigInt(total));
	let [low, high, used] = [0, WORD - 1, 0];
	let code = bits.number(bits.at, bits.at + 32);
	for (let r = 0; r < rows; r++) {
		for (let c = 0; c < columns; c++) {
			const inside = r % 2 || c % 2; // of a merged tile, if one begins at the even row and column before
			const begun = at(r - (r % 2), c - (c % 2));
			if (inside && begun >= single) {
				classes[r * columns + c] = begun;
				continue;
			}
			const may = inside || r + 1 === rows || c + 1 === columns ? single : count;
			const [l, u, v] = [table(0, at(r, c - 1)), table(1, at(r - 1, c)), table(2, at(r - 1, c + 1))];
			let most = -Infinity;
			for (let k = 0; k < may; k++) most = max(most, l[k] + u[k] + v[k]);
			for (let k = 0; k < may; k++) {
				const x = most - l[k] - u[k] - v[k];
				ends[k + 1] = ends[k] + max(1, HALVING[x % 16] >> (x >> 4));
			}
			const [span, total] = [high - low + 1, ends[may]];
			const value = Number((BigInt(code - low + 1) * BigInt(total) - 1n) / BigInt(span));
			let k = 0;
			while (ends[k + 1] <= value) k++;
			classes[r * columns + c] = k;
			high = low + part(span, ends[k + 1], total) - 1;
			low += part(span, ends[k], total);
			while (true) {
				let drop = 0;
				if (high >= WORD / 2 && low < WORD / 2) {
					if (low < WORD / 4 || high >= (3 * WORD) / 4) break;
					drop = WORD / 4; // the interval straddles the middle
				}
				low = ((low - drop) * 2) % WORD;
				high = (((high - drop) * 2) % WORD) + 1;
				code = (((code - drop) * 2) % WORD) + bits.bit(bits.at + 32 + used++);
			}
			check(used + 2 <= left, `truncated: ${tiles} take over ${left} bits`);
		}
	}
	bits.at += used + 2;
	return classes;
}

// Section 4: random numbers

const limbs = (...words) => new Uint16Array(BigUint64Array.from(words).buffer); // lowest first, as in all that follows
const pieces = limbs(0n, 0n, 0n, 0n); // of the last four words drawn
const words = new Uint32Array(pieces.buffer); // their halves
const [p, q] = [limbs(0n, 0n), limbs(0n, 0n)];
const MULTIPLIERS = [limbs(0xd2e7470ee14c6c93n), limbs(0xca5a826395121157n)];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
let key = { seed: null, rounds: [] };

/** Four words of Philox4x64-10, into `pieces` and `words`. */
function draw(seed, purpose, lane, row, n) {
	if (key.seed !== seed) {
		const rounds = Array.from({ length: 10 }, (_, i) => limbs(seed + BigInt(i) * WEYL[0], 1n + BigInt(i) * WEYL[1]));
		key = { seed, rounds };
	}
	words.fill(0);
	words[0] = n + 1;
	words[2] = lane;
	words[4] = purpose;
	words[6] = row;
	for (const round of key.rounds) {
		times(p, 0, MULTIPLIERS[0]);
		times(q, 8, MULTIPLIERS[1]);
		for (let i = 0; i < 4; i++) {
			pieces[i] = q[i + 4] ^ pieces[i + 4] ^ round[i];
			pieces[i + 4] = q[i];
			pieces[i + 8] = p[i + 4] ^ pieces[i + 12] ^ round[i + 4];
			pieces[i + 12] = p[i];
		}
	}
}

/** 64 bits, from some piece on, times 64 bits. */
function times(out, at, factor) {
	for (let k = 0, sum = 0; k < 8; k++, sum = floor(sum / 65536)) {
		for (let i = max(0, k - 3); i <= k && i < 4; i++) sum += pieces[at + i] * factor[k - i];
		out[k] = sum;
	}
}

/** The walk: latents by their words, smallest first. */
function order(latents) {
	const [upper, lower] = [new Uint32Array(latents + 3), new Uint32Array(latents + 3)];
	for (let i = 0; i < latents; i++) {
		if (i % 4 === 0) draw(0n, 2, 0, 0, i / 4);
		lower[i] = words[(i % 4) * 2];
		upper[i] = words[(i % 4) * 2 + 1];
	}
	return Uint32Array.from({ length: latents }, (_, i) => i).sort((i, j) => upper[i] - upper[j] || lower[i] - lower[j]);
}

// AS 241 (Wichura, 1988), PPND16, from the constant term up: numerator and denominator of the middle and of both tails
const CENTRE = [
	[3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
		67265.7709270087, 33430.57558358813, 2509.0809287301227],
	[1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597,
		39307.89580009271, 28729.085735721943, 5226.495278852854],
];
const MIDDLE = [
	[1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
		1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414],
	[1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008,
		0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09],
];

/** Standard normal quantile that a 16-bit piece stands for. */
function normal(piece) {
	const p = (piece + 0.5) / 65536 - 0.5;
	const near = 0.180625 - p * p;
	if (near >= 0) return Math.fround(p * ratio(CENTRE, near));
	return Math.fround(Math.sign(p) * ratio(MIDDLE, sqrt(-Math.log(0.5 - Math.abs(p))) - 1.6));
}

function ratio([numerator, denominator], x) {
	const value = (coefficients) => coefficients.reduceRight((sum, a) => sum * x + a, 0);
	return value(numerator) / value(denominator);
}

// Section 5: partition

/** Cost indices and groups of a block: `walk` has the coded latents in order, `group` the group of each. */
function partition({ prior, point, rows, columns, classes, across }, block) {
	const { side, own, order } = prior;
	const kl = new Uint8Array(order.length);
	const [top, left] = [floor(block / across) * side, (block % across) * side];
	for (let n = 0; n < side * side; n++) {
		const [r, c] = [top + floor(n / side), left + (n % side)];
		if (r >= rows || c >= columns) continue;
		const merged = classes[r * columns + c] - point.single;
		const row = merged < 0 ? merged + point.single : point.single + 4 * merged + (r % 2) * 2 + (c % 2);
		kl.set(point.kl.subarray(row * own, (row + 1) * own), n * own);
	}
	return grouped(kl, order, prior);
}

/** The same of latents with these cost indices. */
function grouped(kl, order, { groupBits, indexBits }) {
	const cost = (i) => (kl[i] * kl[i]) >> 4;
	const walk = order.filter((i) => cost(i));
	const group = new Uint32Array(walk.length);
	const [capacity, half, chained] = [256 * groupBits, 128 * groupBits, groupBits < indexBits];
	let groups = chained ? floor((walk.reduce((sum, i) => sum + cost(i), 0) + half) / capacity) : 0;
	for (let n = 0, total = 0; n < walk.length; n++) {
		total += cost(walk[n]);
		if (!chained && (!n || total > capacity)) [groups, total] = [groups + 1, cost(walk[n])];
		group[n] = chained ? min(floor((total - 1 + half) / capacity), groups - 1) : groups - 1;
	}
	return { kl, walk: groups ? walk : [], group, groups };
}

// Sections 6 and 7: indices and latents

/** The latents of a block. */
function latents(plane, start, block) {
	const { prior, point } = plane;
	const out = floats(prior.order.length);
	for (let i = 0; i < out.length; i += prior.own) out.set(point.mean, i);
	return sampled(plane, start, block, partition(plane, block), out, (i, ratio) => point.noise[i % prior.own] * ratio);
}

/** Adds to some latents what their stream says. */
function sampled({ prior, bits, head }, start, block, { kl, walk, group }, out, scaleOf) {
	const { groupBits } = prior;
	const signs = new Uint8Array(out.length / 8 + 32);
	for (let n = 0; 256 * n < out.length; n++) {
		draw(head.seed, 1, block, 0, n);
		signs.set(new Uint8Array(words.buffer), 32 * n);
	}
	for (let n = 0, k = 0; n < walk.length; n++, k++) {
		const i = walk[n];
		const g = group[n];
		if (g !== group[n - 1]) k = 0;
		if (k % 16 === 0) {
			const end = start + (g + 1) * groupBits;
			draw(head.seed, 0, g, k / 16, bits.number(max(start, end - head.indexBits), end));
		}
		const ratio = sqrt(Math.expm1((Math.LN2 * ((kl[i] * kl[i]) >> 4)) / 128));
		const sign = (signs[i >> 3] >> (i & 7)) & 1 ? -1 : 1;
		out[i] += Math.fround(scaleOf(i, ratio)) * sign * normal(pieces[k % 16]);
	}
	return out;
}

/** Calls with row and column of every tile of the picture and with its latents. */
function eachTile(plane, call) {
	const { prior, rows, columns, across } = plane;
	const { side, own } = prior;
	plane.starts.forEach((start, block) => {
		const all = latents(plane, start, block);
		for (let n = 0; n < side * side; n++) {
			const [r, c] = [floor(block / across) * side + floor(n / side), (block % across) * side + (n % side)];
			if (r < rows && c < columns) call(r, c, all.subarray(n * own, (n + 1) * own));
		}
	});
}

// Section 7: field. A map has height and width in pixels, positions of fold x fold pixels, and `depth` numbers at each.

/** Lapped cosines of all tiles. */
function cosineField(plane) {
	const { rows, columns, classes, point, prior } = plane;
	const { tile } = prior;
	const [height, width] = [rows * tile, columns * tile];
	const data = floats(height * width * 3);
	const size = (r, c) => (classes[r * columns + c] < point.single ? 1 : 2); // of the tile, in tiles
	eachTile(plane, (r, c, latents) => {
		const s = size(r, c);
		const [top, left] = [(r - (r % s)) * tile + (r % s), (c - (c % s)) * tile + (c % s)];
		for (let v = 0; v < tile; v++) {
			for (let h = 0; h < tile; h++) {
				const to = ((top + v * s) * width + left + h * s) * 3;
				for (let k = 0; k < 3; k++) data[to + k] = latents[(v * tile + h) * 3 + k];
			}
		}
	});
	const axes = [
		{ tiles: rows, across: columns, step: 3 * width, aside: 3, size },
		{ tiles: columns, across: rows, step: 3, aside: 3 * width, size: (c, r) => size(r, c) },
	];
	for (const axis of axes) eachLine(tile, axis, (t, a, at) => cosines(data, at, tile, axis, t, axis.size(t, a)));
	for (const axis of axes) {
		eachLine(tile, axis, (t, a, at) => {
			const [here, before] = [axis.size(t, a), t && axis.size(t - 1, a)];
			if (before && (t % 2 === 0 || here === 1)) mix(data, at, axis.step, (min(here, before) * tile) / 2);
		});
	}
	return { data, height, width, depth: 3, fold: 1 };
}

/** Calls for every line of numbers across every tile, with where it begins in the tile. */
function eachLine(tile, { tiles, across, step, aside }, call) {
	for (let a = 0; a < across; a++) {
		for (let n = 0; n < 3 * tile; n++) {
			const line = (a * tile + floor(n / 3)) * aside + (n % 3);
			for (let t = 0; t < tiles; t++) call(t, a, line + t * tile * step);
		}
	}
}

/** Coefficients of a tile's line to samples, in place. */
function cosines(data, at, tile, { tiles, step }, t, size) {
	if (t % size) return;
	const hop = size * tile;
	const shapes = basis(hop, t + size === tiles);
	const sums = floats(hop);
	for (let k = 0; k < hop; k++) {
		const x = data[at + k * step];
		if (x) for (let i = 0; i < hop; i++) sums[i] += x * shapes[k * hop + i];
	}
	for (let i = 0; i < hop; i++) data[at + i * step] = sums[i];
}

/** Mixes the samples of a line on both sides of a border. */
function mix(data, border, step, half) {
	const angle = (i) => (Math.PI / 4) * (1 + (i + 0.5) / half);
	const sines = table(`sin ${half}`, half, (i) => sin(angle(i)));
	const cosines = table(`cos ${half}`, half, (i) => cos(angle(i)));
	for (let i = 0; i < half; i++) {
		const before = border - (i + 1) * step;
		const behind = border + i * step;
		const a = data[before];
		data[before] = sines[i] * a + cosines[i] * data[behind];
		data[behind] = sines[i] * data[behind] - cosines[i] * a;
	}
}

/** Cosines of a tile: [frequency][pixel]. */
function basis(hop, last) {
	return table(`${hop} ${last}`, hop * hop, (n) => {
		const [k, i] = [floor(n / hop), n % hop];
		return sqrt((last && !k ? 1 : 2) / hop) * cos((Math.PI * (i + 0.5) * (k + (last ? 0 : 0.5))) / hop);
	});
}

const tables = {};

/** Numbers that are computed once. */
function table(name, length, of) {
	return (tables[name] ??= Float64Array.from({ length }, (_, n) => of(n)));
}

/** Every tile is a network of its own on sines and cosines of its pixels' places. */
function fourierField(plane) {
	const { tile, layers } = plane.prior;
	const stored = layers.filter((layer) => layer.latent);
	const inputs = layers[0].inputs;
	const depth = stored.at(-1).outputs;
	const [height, width, line] = [plane.rows * tile, plane.columns * tile, tile * depth];
	const data = floats(height * width * depth);
	const place = (i) => (2 * i + 1) / tile - 1;
	const features = Float64Array.from({ length: tile * tile * inputs }, (_, at) => {
		const [pixel, i] = [floor(at / inputs), at % (inputs / 2)];
		const along = i < inputs / 4 ? floor(pixel / tile) : pixel % tile;
		const phase = place(along) * Math.PI * 2 ** ((i % (inputs / 4)) - 1);
		return at % inputs < inputs / 2 ? sin(phase) : cos(phase);
	});
	eachTile(plane, (r, c, latents) => {
		let [x, at] = [{ data: features, height: tile, width: tile, depth: inputs, fold: 1 }, 0];
		for (const layer of stored) {
			const scaled = (count) => latents.slice(at, (at += count)).map((theta) => layer.scale * theta);
			x = convolved(x, scaled(layer.inputs * layer.outputs), 1);
			activate(x, layer, layer.bias ? scaled(layer.outputs) : [0]);
		}
		for (let i = 0; i < tile; i++) {
			data.set(x.data.subarray(i * line, (i + 1) * line), ((r * tile + i) * width + c * tile) * depth);
		}
	});
	return { data, height, width, depth, fold: 1 };
}

// Section 7: shared layers

/** Pixels of colour or alpha, rounded. */
function pixels(plane, width, height) {
	const { value, channels } = plane;
	const out = new Uint8ClampedArray(width * height * channels); // it rounds halves to even
	if (value) return out.map((_, i) => value[i % channels]);
	const { data: y, width: line } = refold(shared(plane), 1);
	for (let r = 0, n = 0; r < height; r++) {
		for (let at = 3 * r * line; at < 3 * (r * line + width); at += 3) {
			if (channels === 1) out[n++] = 255 * ((y[at] + y[at + 1] + y[at + 2]) / 3);
			else for (let k = 0; k < 3; k++) out[n++] = 255 * y[at + k];
		}
	}
	return out;
}

/** The point's weights, those of this picture where it has modulations. */
function weights(plane, colour) {
	const { prior, point, own } = plane;
	if (!own) return point;
	const found = { ...point };
	const values = sampled(plane, own.start, 0, own, floats(own.kl.length), (i) => point.modulation_scale[i]);
	for (let i = colour + 1, from = 0, inputs = 3, before = 1; i < prior.layers.length; i++) {
		const [{ fold, window }, w, b] = [prior.layers[i], point[`w${i}`], point[`b${i}`]];
		inputs = (inputs * fold * fold) / (before * before);
		const outputs = w.length / window ** 2 / inputs;
		const [factor, shift] = [from + inputs, from + inputs + outputs];
		const first = from;
		found[`w${i}`] = w.map((v, n) => {
			const o = n % outputs;
			return v * (1 + values[first + (((n - o) / outputs) % inputs)]) * (1 + values[factor + o]);
		});
		found[`b${i}`] = b.map((v, n) => v + values[shift + (n % outputs)]);
		[from, inputs, before] = [shift + outputs, outputs, fold];
	}
	return found;
}

/** Output of the last layer. */
function shared(plane) {
	const { prior } = plane;
	const { layers, features } = prior;
	const colour = layers.filter((layer) => layer.latent).length;
	const point = weights(plane, colour);
	const outputs = { [colour - 1]: features === "cosine" ? cosineField(plane) : fourierField(plane) };
	for (let i = colour; i < layers.length; i++) {
		const layer = layers[i];
		const y = convolved(refold(outputs[i - 1], layer.fold), point[`w${i}`], layer.window);
		activate(y, layer, biases(plane, point[`b${i}`], y));
		if (layer.residual_of !== null) {
			const added = refold(outputs[layer.residual_of], layer.fold).data;
			for (let n = 0; n < added.length; n++) y.data[n] += added[n];
		}
		outputs[i] = y;
	}
	return outputs[layers.length - 1];
}

/** Adds biases, one row for all positions or one each, and bends. */
function activate({ data }, { kind, omega }, bias) {
	for (let n = 0, b = 0; n < data.length; n++, b = b + 1 === bias.length ? 0 : b + 1) {
		const y = omega * (data[n] + bias[b]);
		data[n] = kind === "sine" ? sin(y) : kind === "silu" ? y / (1 + Math.exp(-y)) : y;
	}
}

/** Biases as they are, or those of classes between the centres of tiles, at every position. */
function biases({ prior, rows, columns, classes }, bias, { data, height, width, depth, fold }) {
	if (bias.length === depth) return bias;
	const place = (i, count) => min(max(((i + 0.5) * fold) / prior.tile - 0.5, 0), count - 1);
	const line = floats((columns + 1) * depth); // of a row of positions, at the tiles' centres and once more
	const out = floats(data.length);
	for (let r = 0, n = 0; r < height / fold; r++) {
		const down = place(r, rows);
		for (let c = 0, i = 0; c <= columns; c++) {
			const above = floor(down) * columns + min(c, columns - 1);
			const upper = classes[above] * depth;
			const lower = (down % 1 ? classes[above + columns] : classes[above]) * depth;
			for (let o = 0; o < depth; o++) line[i++] = bias[upper + o] + (down % 1) * (bias[lower + o] - bias[upper + o]);
		}
		for (let c = 0; c < width / fold; c++) {
			const across = place(c, columns);
			for (let o = 0, i = floor(across) * depth; o < depth; o++, i++) {
				out[n++] = line[i] + (across % 1) * (line[i + depth] - line[i]);
			}
		}
	}
	return out;
}

/** A map with positions of another size. */
function refold(x, fold) {
	if (x.fold === fold) return x;
	if (x.fold > 1 && fold > 1) return refold(refold(x, 1), fold);
	const f = x.fold * fold; // one of them is 1
	const [data, columns] = [floats(x.data.length), x.width / f];
	const line = data.length / (x.height * columns); // pixels side by side in a square are so either way
	for (let r = 0, n = 0; r < x.height / f; r++) {
		for (let c = 0; c < columns; c++) {
			for (let u = 0; u < f; u++, n++) {
				const m = (r * f + u) * columns + c;
				const to = (fold > 1 ? n : m) * line;
				const from = (fold > 1 ? m : n) * line;
				for (let k = 0; k < line; k++) data[to + k] = x.data[from + k];
			}
		}
	}
	return { ...x, data, fold, depth: (x.depth * fold * fold) / (x.fold * x.fold) };
}

/** A dense layer over a window, edges repeated; weights [row][column][input][output]. */
function convolved(x, weights, window) {
	const [height, width, inputs] = [x.height / x.fold, x.width / x.fold, x.depth];
	const depth = weights.length / (window * window * inputs);
	const out = { ...x, data: floats(height * width * depth), depth };
	const padded = repeated(x.data, height, width, inputs, window >> 1);
	if (window === 3 && width % 8 === 0 && height % 4 === 0) return winograd(padded, weights, inputs, height, width, out), out;
	const taps = window * inputs; // side by side
	const packed = fours(weights, window * taps, depth);
	for (let row = 0; row < height; row++) {
		for (let u = 0; u < window; u++) {
			const from = (row + u) * (width + window - 1) * inputs;
			multiply(padded, from, inputs, taps, packed, u * taps, window * taps, out.data, row * width * depth, width, depth);
		}
	}
	return out;
}

/**
 * The same for 3 x 3 positions: 4 x 4 at once, from the 6 x 6 that they look at, with 36 products instead of 144.
 * Winograd's F(4 x 4, 3 x 3): Lavin and Gray, 2016.
 */
function winograd(padded, weights, inputs, height, width, { data, depth }) {
	const count = width / 4; // squares of a row
	const line = (width + 2) * inputs;
	const size = count * inputs;
	const own = count * depth;
	const [lines, seen] = [floats(6 * line), floats(36 * size)];
	const [products, sums] = [floats(36 * own), floats(24 * own)];
	const packed = transformed(weights, inputs, depth);
	for (let row = 0; row < height; row += 4) {
		sixths(padded, row * line, line, line, lines, 0, line);
		for (let a = 0; a < 6; a++) {
			for (let n = 0; n < count; n++) {
				sixths(lines, a * line + 4 * n * inputs, inputs, inputs, seen, 6 * a * size + n * inputs, size);
			}
		}
		products.fill(0);
		for (let k = 0; k < 36; k++) multiply(seen, k * size, inputs, inputs, packed[k], 0, inputs, products, k * own, count, depth);
		fourths(products, 0, 6 * own, 6 * own, sums, 0, 6 * own);
		for (let u = 0; u < 4; u++) {
			for (let n = 0; n < count; n++) {
				fourths(sums, 6 * u * own + n * depth, own, depth, data, ((row + u) * width + 4 * n) * depth, depth);
			}
		}
	}
}

/** What becomes of inputs along an axis: runs of `count` numbers, `step` apart, to runs `gap` apart. */
function sixths(x, from, step, count, y, to, gap) {
	for (const end = from + count; from < end; from++, to++) {
		const a = x[from], b = x[from + step], c = x[from + 2 * step];
		const d = x[from + 3 * step], e = x[from + 4 * step];
		y[to] = 4 * a - 5 * c + e;
		y[to + gap] = e - 4 * c + (d - 4 * b);
		y[to + 2 * gap] = e - 4 * c - (d - 4 * b);
		y[to + 3 * gap] = e - c + 2 * (d - b);
		y[to + 4 * gap] = e - c - 2 * (d - b);
		y[to + 5 * gap] = 4 * b - 5 * d + x[from + 5 * step];
	}
}

/** The same of products. */
function fourths(x, from, step, count, y, to, gap) {
	for (const end = from + count; from < end; from++, to++) {
		const b = x[from + step], c = x[from + 2 * step];
		const d = x[from + 3 * step], e = x[from + 4 * step];
		y[to] = x[from] + b + c + d + e;
		y[to + gap] = b - c + 2 * (d - e);
		y[to + 2 * gap] = b + c + 4 * (d + e);
		y[to + 3 * gap] = b - c + 8 * (d - e) + x[from + 5 * step];
	}
}

const SHARES = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]];
const known = new WeakMap();

/** The same of 3 x 3 weights, along both axes: 36 matrices. */
function transformed(weights, inputs, outputs) {
	if (!known.has(weights)) {
		const size = inputs * outputs;
		const matrices = Array.from({ length: 36 }, (_, k) => {
			const matrix = floats(size);
			for (let t = 0; t < 9; t++) {
				const share = (SHARES[floor(k / 6)][floor(t / 3)] * SHARES[k % 6][t % 3]) / 576;
				if (share) for (let i = 0; i < size; i++) matrix[i] += share * weights[t * size + i];
			}
			return fours(matrix, inputs, outputs);
		});
		known.set(weights, matrices);
	}
	return known.get(weights);
}

/** A map with `r` copies of what is at its edges. */
function repeated(data, height, width, depth, r) {
	const line = width + 2 * r;
	const out = floats((height + 2 * r) * line * depth);
	const within = (i, count) => min(max(i - r, 0), count - 1);
	for (let n = 0; n < out.length / depth; n++) {
		const from = (within(floor(n / line), height) * width + within(n % line, width)) * depth;
		for (let c = 0; c < depth; c++) out[n * depth + c] = data[from + c];
	}
	return out;
}

/** Weights of four outputs side by side, input after input, then those of the next four. */
function fours(weights, inputs, outputs) {
	const out = floats(inputs * 4 * ceil(outputs / 4));
	for (let i = 0; i < inputs; i++) {
		for (let o = 0; o < outputs; o++) out[((o >> 2) * inputs + i) * 4 + (o & 3)] = weights[i * outputs + o];
	}
	return out;
}

/** Adds to y[n][o], for n < count, the sums of x[n * step + k] * w[k][o], for k < taps: two by four of them at once. */
function multiply(x, from, step, taps, w, first, inputs, y, to, count, outputs) {
	for (let o = 0; o < outputs; o += 4) {
		for (let n = 0; n < count; n += 2) {
			let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
			let i = from + n * step;
			let j = o * inputs + 4 * first;
			for (const end = i + taps; i < end; i++, j += 4) {
				const a = x[i], b = x[i + step], w0 = w[j], w1 = w[j + 1], w2 = w[j + 2], w3 = w[j + 3];
				(a0 += a * w0), (a1 += a * w1), (a2 += a * w2), (a3 += a * w3);
				(b0 += b * w0), (b1 += b * w1), (b2 += b * w2), (b3 += b * w3);
			}
			const p = to + n * outputs + o;
			const q = p + outputs; // where there are not four outputs, zeros go to others
			(y[p] += a0), (y[p + 1] += a1), (y[p + 2] += a2), (y[p + 3] += a3);
			(y[q] += b0), (y[q + 1] += b1), (y[q + 2] += b2), (y[q + 3] += b3);
		}
	}
}

// The prior for the web, and what a page needs

/** @param {Uint8Array} file */
function readPrior(file) {
	const view = new DataView(file.buffer, file.byteOffset);
	check(file.length > 8 && view.getUint32(0) === 0x434d4257, "not a prior for the web");
	let at = 8 + view.getUint32(4, true);
	const { points, architecture, ...prior } = JSON.parse(new TextDecoder().decode(file.subarray(8, at)));
	const members = points.map((point) =>
		Object.entries(point).map(([name, [type, ...shape]]) => {
			const bytes = shape.reduce((a, b) => a * b, type === "f2" ? 2 : 1);
			return [name, type, file.subarray(at, (at += bytes))];
		}),
	);
	check(at === file.length, "a prior for the web that is not whole");
	const unpacked = {};
	const point = (number, grey) => {
		check(number < points.length, `prior ${prior.name} has no operating point ${number}`);
		return (unpacked[[number, grey]] ??= unpack(members[number], grey && architecture.features === "cosine"));
	};
	const digest = Uint8Array.from(prior.digest.match(/../g), (pair) => parseInt(pair, 16));
	const own = points[0].mean[1];
	const size = architecture.side ** 2 * own;
	const walk = prior.mixed ? order(size) : Uint32Array.from({ length: size }, (_, i) => i);
	return { ...prior, ...architecture, digest, hash: prior.digest.slice(0, 8), own, order: walk, point };
}

/** An operating point; for one channel without the costs of the second and third colour component. */
function unpack(members, first) {
	const types = { f2: singles, i1: (bytes) => new Int8Array(bytes), u1: (bytes) => bytes };
	const point = Object.fromEntries(members.map(([name, type, bytes]) => [name, types[type](bytes)]));
	const { kl, merged = [], mean } = point;
	point.single = kl.length / mean.length;
	point.count = point.single + merged.length / mean.length / 4;
	point.kl = new Uint8Array([...kl, ...merged]);
	if (first) point.kl = point.kl.map((index, i) => (i % 3 ? 0 : index));
	return point;
}

/** Numbers in half precision, all low bytes before all high ones. */
function singles(bytes) {
	const out = floats(bytes.length / 2);
	for (let i = 0; i < out.length; i++) {
		const high = bytes[out.length + i];
		const exponent = (high >> 2) & 31;
		const fraction = ((high & 3) << 8) | bytes[i];
		const value = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
		out[i] = high > 127 ? -value : value;
	}
	return out;
}

/** What an address gives, unpacked if it is gzip. */
async function fetched(url) {
	const answer = await fetch(url);
	check(answer.ok, `${url}: ${answer.status} ${answer.statusText}`);
	return gunzipped(new Uint8Array(await answer.arrayBuffer()));
}

/** Bytes without their gzip, if they have one: of a prior that does not come from an address. */
export async function gunzipped(bytes) {
	if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
	const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
	return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Bytes of a data: URL in base64. */
function bytesOf(url) {
	const [, base64] = url.match(/^data:[^,]*;base64,(.*)$/s) ?? [];
	check(base64 !== undefined, "not a data: URL in base64");
	return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function hex(bytes) {
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const first = {};
first.loaded = new Promise((resolve) => (first.resolve = resolve));

/** A canvas that shows an image. */
function painted(image) {
	const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
	canvas.getContext("2d").putImageData(image, 0, 0);
	return canvas;
}

/**
 * <img-cmb src="data:..."> paints itself at the picture's size, or smoothly scaled to the size that CSS gives it. A file
 * that cannot be shown leaves it empty and raises an `error` event.
 */
class Element extends (globalThis.HTMLElement ?? Object) {
	static observedAttributes = ["src"];

	async attributeChangedCallback(_, __, src) {
		const combiner = await first.loaded;
		if (src !== this.getAttribute("src")) return; // changed again
		try {
			const canvas = painted(combiner.decode(src));
			canvas.style = "display: block; width: 100%; height: 100%";
			this.style.display ||= "inline-block";
			this.replaceChildren(canvas);
			this.dispatchEvent(new Event("load"));
		} catch (error) {
			this.replaceChildren();
			this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
		}
	}
}
globalThis.customElements?.define("img-cmb", Element);
