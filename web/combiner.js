/**
 * Decoder of .cmb pictures for browsers and Node, from FORMAT.md; README.md beside this file tells how to use it.
 * bytes -> header -> classes of tiles -> indices -> latents -> field -> pixels. Integers are exact, pictures of every size
 * are computed in double precision.
 */

const { ceil, cos, floor, max, min, sin, sqrt } = Math;
const floats = (length) => new Float64Array(length);
const filled = (length, of) => Float64Array.from({ length }, (_, i) => of(i));
const clamp = (i, count) => max(0, min(i, count - 1));
const whole = (x) => Math.round(x) | 0; // engines then count in integers

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
		const { width, height, sharpness, planes } = this.parse(typeof source === "string" ? bytesOf(source) : source, maxPixels);
		const [data, alpha] = planes.map((plane) => pixels(plane, width, height));
		for (let i = 3; i < alpha?.length; i += 4) data[i] = ((2 * alpha[i - 1] - 255) * 2 ** sharpness + 255) >> 1;
		return globalThis.ImageData ? new ImageData(data, width, height) : { width, height, data };
	}

	/** @returns {string} the same as the data: URL of a PNG, for `src` of an <img>; in browsers only */
	toDataURL(source, options) {
		return painted(this.decode(source, options)).toDataURL();
	}

	/** Header and planes; nothing much larger than the file is allocated. */
	parse(data, maxPixels) {
		const head = readHeader(data);
		const { number, hash, points } = head;
		const fits = ({ width, height }) =>
			check(width * height <= maxPixels, `${width} x ${height} pixels are more than ${maxPixels}`);
		fits(head);
		const prior = this.priors.find((own) => own.number === number && (hash ?? own.hash) === own.hash);
		check(prior || number !== CUSTOM, `made with a custom prior of hash ${hash}: name its file`);
		check(prior, `unknown prior ${number}: the file is damaged, or newer than this version: update combiner`);
		head.width ||= prior.tile * prior.side;
		head.height ||= prior.tile * prior.side;
		fits(head);
		check(
			data.at(-2) + 256 * data.at(-1) === crc16(data.subarray(0, -2), crc16(prior.digest)),
			"checksum mismatch: the file is damaged, or it was made with another prior of this name: " +
				"get the file again, or decode it with the version of combiner that made it",
		);
		const bits = new Bits(data.subarray(head.end, -2));
		const planes = points.map((point, i) => readPlane(bits, head, prior, point, i > 0 || head.grey));
		const need = ceil(bits.at / 8);
		const complete = 8 * need === bits.size && bits.number(bits.at, bits.size) === 0;
		check(complete, `payload of ${bits.size / 8} bytes where ${need} are expected`);
		return { ...head, planes };
	}
}

// Section 2: header

function readHeader(data) {
	const [magic = 0xcb, letter = 0x4d, what, how] = data;
	const version = letter - 0x4c;
	const later = magic === 0xcb && version > 1 && version <= 14;
	check(!later, `format version ${version} is not supported (this is version 1): update combiner`);
	check(magic === 0xcb && version === 1, "not a combiner file");
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
	const side = (usual) => (usual ? 0 : Number(varint(2n ** 20n - 1n)) + 1);
	const head = { number: what >> 4, grey: (what & 12) > 0, points: [how & 31], indexBits: USUAL_BITS[how >> 6], seed: 0n };
	inRange((what & 12) < 12);
	if (head.number === CUSTOM) head.hash = hex([byte(), byte(), byte(), byte()]);
	head.width = side(what & 1);
	head.height = side(what & 2);
	if (!head.indexBits) {
		const width = (head.indexBits = byte());
		head.seed = varint(2n ** 63n - 1n);
		inRange(width >= 8 && width <= 22 && width % 2 === 0 && (head.seed || !USUAL_BITS.includes(width)));
	}
	if (how & 32) {
		const alpha = byte();
		head.points.push(alpha & 31);
		head.sharpness = alpha >> 5;
	}
	return { ...head, end };
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

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

	/** The number in some bits, the highest first; there are zeros after the last one. */
	number(from, end) {
		let value = 0;
		for (let i = from; i < end; i++) value = value * 2 + ((this.bytes[i >> 3] >> (7 - (i & 7))) & 1);
		return value;
	}

	/** The same of the next bits. */
	take(count) {
		return this.number(this.at, (this.at += count));
	}
}

/** What a plane's bits say: its one colour, or classes of tiles and where every block's stream starts. */
function readPlane(bits, head, prior, number, grey) {
	const { at, size } = bits;
	const left = (size - at) >> 3; // bytes
	if (number === ONE_COLOUR) {
		const next = () => bits.take(8) / 255;
		const colour = grey ? Array(3).fill(next()) : [next(), next(), next()];
		check(bits.at <= size, "truncated in the picture's colour");
		return { colour, grey };
	}
	const { groupBits, indexBits, side, tile } = prior;
	const point = prior.point(number);
	const coder = groupBits < indexBits ? head.indexBits >= groupBits : head.indexBits === indexBits;
	check(coder, `prior ${prior.name} cannot have made this file`);
	const [rows, columns] = [ceil(head.height / tile), ceil(head.width / tile)];
	const modulations = modulationsOf(point, head.width * head.height);
	const modulated = modulations && bits.take(1);
	const few = point.count === 1 && rows * columns > side * side * (size - bits.at);
	check(!few, `truncated: ${left} bytes are too few for ${rows} x ${columns} tiles`);
	const classes = (point.contexts ? classMap : classNumbers)(bits, max(0, size - bits.at), rows, columns, point);
	const plane = { bits, head, prior, point, grey, rows, columns, classes };
	const startOf = ({ groups }) => (bits.at += groupBits * groups) - groupBits * groups;
	if (modulated) {
		plane.changes = grouped(modulations, order(modulations.length), prior);
		plane.changes.start = startOf(plane.changes);
	}
	const blocks = ceil(columns / side) * ceil(rows / side);
	plane.starts = Array.from({ length: blocks }, (_, block) => startOf(partition(plane, block)));
	const need = ceil((bits.at - at) / 8);
	check(bits.at <= size, `truncated: payload of ${left} bytes where ${need} are expected`);
	return plane;
}

/** Cost indices of modulations of a picture of so many pixels, if it can have some. */
function modulationsOf({ modulation_kl, modulation_scale }, pixels) {
	if (!modulation_kl || pixels <= 16384) return null;
	const size = modulation_scale.length;
	const row = min(floor(Math.log2(floor(pixels / 16384))), modulation_kl.length / size - 1);
	return modulation_kl.subarray(size * row, size * (row + 1));
}

function classNumbers(bits, left, rows, columns, { count }) {
	const [tiles, width] = [rows * columns, 32 - Math.clz32(count - 1)];
	check(tiles * width <= left, `truncated: ${tiles} tiles need more than ${left >> 3} bytes`);
	const classes = new Uint16Array(tiles).map(() => bits.take(width));
	const known = classes.every((c) => c < count);
	check(known, "a tile names a class that its prior does not have");
	return classes;
}

/** Arithmetic-coded classes, row by row. */
function classMap(bits, left, rows, columns, { count, single, contexts }) {
	const classes = new Uint16Array(rows * columns);
	if (count === 1) return classes;
	const tiles = `the classes of ${rows} x ${columns} tiles`;
	const enough = rows * columns * (single - 1) <= left * 2 ** (single < count ? 18 : 16);
	check(enough, `truncated: ${left} bits are too few for ${tiles}`);
	const end = bits.at + left + 30; // the decoder is so many bits ahead of the map
	const at = (r, c) => (r < 0 || c < 0 || c >= columns ? count : classes[r * columns + c]);
	const table = (n, neighbour) => contexts.subarray((n * (count + 1) + neighbour) * count);
	let [low, high, code] = [0, WORD - 1, bits.take(32)];
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
			const scores = Array.from({ length: may }, (_, k) => l[k] + u[k] + v[k]);
			const [most, ends] = [max(...scores), [0]];
			for (const x of scores.map((score) => most - score)) {
				ends.push(ends.at(-1) + max(1, floor(Math.round(2 ** (16 - (x % 16) / 16)) / 2 ** (x >> 4))));
			}
			const [span, total] = [high - low + 1, ends[may]];
			const part = (end) => floor(span / total) * end + floor(((span % total) * end) / total); // span * end / total
			let k = 0;
			while (part(ends[k + 1]) <= code - low) k++;
			classes[r * columns + c] = k;
			high = low + part(ends[k + 1]) - 1;
			low += part(ends[k]);
			while (true) {
				const settled = high < WORD / 2 || low >= WORD / 2; // the first bit
				if (!settled && (low < WORD / 4 || high >= (3 * WORD) / 4)) break;
				const drop = settled ? 0 : WORD / 4; // the interval straddles the middle
				low = ((low - drop) * 2) % WORD;
				high = (((high - drop) * 2) % WORD) + 1;
				code = (((code - drop) * 2) % WORD) + bits.take(1);
			}
			check(bits.at <= end, `truncated: ${tiles} take over ${left} bits`);
		}
	}
	bits.at -= 30;
	return classes;
}

// Section 4: random numbers

const limbs = (...words) => new Uint16Array(BigUint64Array.from(words).buffer); // lowest first, as in all that follows
const pieces = limbs(0n, 0n, 0n, 0n); // of the last four words drawn
const [halves, octets] = [new Uint32Array(pieces.buffer), new Uint8Array(pieces.buffer)]; // of the same
const [p, q] = [limbs(0n, 0n), limbs(0n, 0n)];
const MULTIPLIERS = [limbs(0xd2e7470ee14c6c93n), limbs(0xca5a826395121157n)];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
let key = {}; // of the last seed

/** Four words of Philox4x64-10, into `pieces`. */
function draw(seed, purpose, lane, row, n) {
	if (key.seed !== seed) {
		const round = (_, i) => limbs(seed + BigInt(i) * WEYL[0], 1n + BigInt(i) * WEYL[1]);
		key = { seed, rounds: Array.from({ length: 10 }, round) };
	}
	halves.set([n + 1, 0, lane, 0, purpose, 0, row, 0]);
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

/** The walk: latents by their words, smallest first. No two of the first million words agree in 53 bits. */
function order(latents) {
	const ranks = filled(latents, (i) => {
		if (i % 4 === 0) draw(0n, 2, 0, 0, i / 4);
		return halves[(i % 4) * 2] + WORD * halves[(i % 4) * 2 + 1];
	});
	return Uint32Array.from(ranks.keys()).sort((i, j) => ranks[i] - ranks[j]);
}

// AS 241 (Wichura, 1988), PPND16, from the constant term up: numerator and denominator of the middle and of both tails.
// Twelve digits give the same 65536 quantiles.
const CENTRE = [
	[3.38713287280, 133.141667892, 1971.59095031, 13731.6937655, 45921.9539315, 67265.7709270, 33430.5755836, 2509.08092873],
	[1, 42.3133307016, 687.187007492, 5394.19602142, 21213.7943016, 39307.8958001, 28729.0857357, 5226.49527885],
];
const TAILS = [
	[1.42343711075, 4.63033784616, 5.76949722146, 3.64784832476, 1.27045825245, 0.241780725177, 0.0227238449893,
		0.000774545014278],
	[1, 2.05319162664, 1.67638483018, 0.689767334985, 0.148103976427, 0.0151986665636, 0.000547593808500, 1.05075007164e-9],
];

/** Standard normal quantile that a 16-bit piece stands for. */
function normal(piece) {
	const p = (piece + 0.5) / 65536 - 0.5;
	const near = 0.180625 - p * p;
	const value = near < 0 ? Math.sign(p) * ratio(TAILS, sqrt(-Math.log(0.5 - Math.abs(p))) - 1.6) : p * ratio(CENTRE, near);
	return Math.fround(value);
}

function ratio([numerator, denominator], x) {
	let above = 0, below = 0;
	for (let i = 7; i >= 0; i--) (above = above * x + numerator[i]), (below = below * x + denominator[i]);
	return above / below;
}

// Section 5: partition

/** Calls with row and column of every tile of a block, and with where its latents begin among the block's. */
function tilesOf({ prior: { side, own }, rows, columns }, block, call) {
	const across = ceil(columns / side);
	for (let n = 0; n < side * side; n++) {
		const [r, c] = [floor(block / across) * side + floor(n / side), (block % across) * side + (n % side)];
		if (r < rows && c < columns) call(r, c, n * own);
	}
}

function partition(plane, block) {
	const { prior, point, columns, classes, grey } = plane;
	const kl = new Uint8Array(prior.order.length);
	tilesOf(plane, block, (r, c, at) => {
		const own = classes[r * columns + c];
		const merged = 4 * (own - point.single) + (r % 2) * 2 + (c % 2);
		const [table, row] = own < point.single ? [point.kl, own] : [point.merged, merged];
		kl.set(table.subarray(row * prior.own, (row + 1) * prior.own), at);
	});
	return grouped(grey && prior.features === "cosine" ? kl.map((index, i) => (i % 3 ? 0 : index)) : kl, prior.order, prior);
}

const cost = (kl) => (kl * kl) >> 4; // in 1/256 bit

/** Groups of latents with these cost indices: `walk` has the coded ones in order, `group` the group of each. */
function grouped(kl, order, { groupBits, indexBits }) {
	const walk = order.filter((i) => cost(kl[i]));
	const [capacity, half, chained] = [256 * groupBits, 128 * groupBits, groupBits < indexBits];
	let groups = chained ? floor((walk.reduce((sum, i) => sum + cost(kl[i]), 0) + half) / capacity) : 0;
	let total = 0;
	const group = walk.map((i) => {
		total += cost(kl[i]);
		if (chained) return min(floor((total - 1 + half) / capacity), groups - 1);
		if (!groups || total > capacity) [groups, total] = [groups + 1, cost(kl[i])];
		return groups - 1;
	});
	return { kl, walk: groups ? walk : [], group, groups };
}

// Sections 6 and 7: indices and latents

const RATIOS = filled(256, (kl) => sqrt(Math.expm1((Math.LN2 * cost(kl)) / 128)));

/** Adds to some latents what their stream says. */
function addSamples({ prior, bits, head }, start, block, { walk, group }, out, scaleOf) {
	const signs = new Uint8Array(out.length / 8 + 32);
	for (let n = 0; 256 * n < out.length; n++) {
		draw(head.seed, 1, block, 0, n);
		signs.set(octets, 32 * n);
	}
	for (let n = 0, k = 0; n < walk.length; n++, k++) {
		const [i, g] = [walk[n], group[n]];
		if (g !== group[n - 1]) k = 0;
		if (k % 16 === 0) {
			const end = start + (g + 1) * prior.groupBits;
			draw(head.seed, 0, g, k / 16, bits.number(max(start, end - head.indexBits), end));
		}
		const sign = (signs[i >> 3] >> (i & 7)) & 1 ? -1 : 1;
		out[i] += Math.fround(scaleOf(i)) * sign * normal(pieces[k % 16]);
	}
	return out;
}

/** Calls with row and column of every tile of the picture and with its latents. */
function eachTile(plane, call) {
	const { prior, point, starts } = plane;
	const { own } = prior;
	starts.forEach((start, block) => {
		const groups = partition(plane, block);
		const latents = floats(prior.order.length);
		for (let i = 0; i < latents.length; i += own) latents.set(point.mean, i);
		addSamples(plane, start, block, groups, latents, (i) => point.noise[i % own] * RATIOS[groups.kl[i]]);
		tilesOf(plane, block, (r, c, at) => call(r, c, latents.subarray(at, at + own)));
	});
}

// Section 7: field. A map has `depth` numbers for every pixel, row by row.

/** Lapped cosines of all tiles. */
function cosineField(plane) {
	const { rows, columns, classes, point } = plane;
	const { tile } = plane.prior;
	const width = columns * tile;
	const data = floats(3 * rows * tile * width);
	const sizeOf = (r, c) => (classes[r * columns + c] < point.single ? 1 : 2); // of a tile, in tiles
	eachTile(plane, (r, c, latents) => {
		const size = sizeOf(r, c);
		const [i, j] = [r % size, c % size]; // in a merged tile
		for (let v = 0, n = 0; v < tile; v++) {
			let to = (((r - i) * tile + v * size + i) * width + (c - j) * tile + j) * 3;
			for (let h = 0; h < tile; h++, to += 3 * size) for (let k = 0; k < 3; k++) data[to + k] = latents[n++];
		}
	});
	const axes = [
		{ tiles: rows, step: 3 * width, aside: 3, size: sizeOf },
		{ tiles: columns, step: 3, aside: 3 * width, size: (c, r) => sizeOf(r, c) },
	];
	for (const work of [transform(tile), mix]) {
		for (const { tiles, step, aside, size } of axes) {
			for (let line = 0; line < data.length / (tiles * tile); line++) {
				const [start, across] = [floor(line / 3) * aside + (line % 3), floor(line / (3 * tile))];
				for (let t = 0, before = 0, here; t < tiles; t += here, before = here) {
					here = size(t, across);
					work(data, start + t * tile * step, step, here * tile, before * tile, t + here === tiles);
				}
			}
		}
	}
	return { data, depth: 3 };
}

/** Turns coefficients of a tile's line to samples. */
function transform(tile) {
	const shapes = [1, 2].map((size) => [basis(size * tile, false), basis(size * tile, true)]);
	const sums = floats(2 * tile);
	return (data, at, step, hop, _, last) => {
		const shape = shapes[hop / tile - 1][+last];
		sums.fill(0);
		for (let k = 0; k < hop; k++) {
			const x = data[at + k * step];
			if (x) for (let i = 0; i < hop; i++) sums[i] += x * shape[k * hop + i];
		}
		for (let i = 0; i < hop; i++) data[at + i * step] = sums[i];
	};
}

/** Cosines of a tile: [frequency][pixel]. */
function basis(hop, last) {
	return filled(hop * hop, (n) => {
		const [k, i] = [floor(n / hop), n % hop];
		return sqrt((last && !k ? 1 : 2) / hop) * cos((Math.PI * (i + 0.5) * (k + (last ? 0 : 0.5))) / hop);
	});
}

/** Mixes samples of a line on both sides of a border. */
function mix(data, border, step, hop, before) {
	const half = min(hop, before) / 2;
	for (let i = 0; i < half; i++) {
		const angle = (Math.PI / 4) * (1 + (i + 0.5) / half);
		const above = border - (i + 1) * step, below = border + i * step;
		const a = data[above], b = data[below];
		data[above] = sin(angle) * a + cos(angle) * b;
		data[below] = sin(angle) * b - cos(angle) * a;
	}
}

/** Every tile is a network of its own on sines and cosines of its pixels' places. */
function fourierField(plane) {
	const { tile, layers } = plane.prior;
	const stored = layers.filter((layer) => layer.latent);
	const [{ inputs }, { outputs: depth }] = [stored[0], stored.at(-1)];
	const features = filled(tile * tile * inputs, (at) => {
		const [pixel, i] = [floor(at / inputs), at % (inputs / 2)];
		const along = i < inputs / 4 ? floor(pixel / tile) : pixel % tile;
		const phase = ((2 * along + 1) / tile - 1) * Math.PI * 2 ** ((i % (inputs / 4)) - 1);
		return at % inputs < inputs / 2 ? sin(phase) : cos(phase);
	});
	const alone = { prior: plane.prior, rows: 1, columns: 1, classes: [0] };
	const [line, columns] = [tile * depth, plane.columns];
	const data = floats(plane.rows * tile * columns * line);
	eachTile(plane, (r, c, latents) => {
		let [x, at] = [{ data: features, depth: inputs }, 0];
		for (const layer of stored) {
			const take = (count) => latents.slice(at, (at += count)).map((theta) => layer.scale * theta);
			const weights = take(layer.inputs * layer.outputs);
			x = layered(alone, layer, x, weights, layer.bias ? take(layer.outputs) : floats(layer.outputs));
		}
		for (let i = 0; i < tile; i++) {
			data.set(x.data.subarray(i * line, (i + 1) * line), ((r * tile + i) * columns + c) * line);
		}
	});
	return { data, depth };
}

// Section 7: shared layers

/** Four bytes of every pixel, rounded: colour or three times grey, and opaque. */
function pixels(plane, width, height) {
	const { colour, grey, prior, columns } = plane;
	const out = new Uint8ClampedArray(width * height * 4).fill(255); // it rounds halves to even
	const y = colour ?? shared(plane);
	const across = colour ? 0 : 3;
	const down = across * columns * prior?.tile || 0;
	for (let n = 0; n < width * height; n++) {
		const at = floor(n / width) * down + (n % width) * across;
		const mean = (y[at] + y[at + 1] + y[at + 2]) / 3;
		for (let k = 0; k < 3; k++) out[4 * n + k] = 255 * (grey ? mean : y[at + k]);
	}
	return out;
}

/** Output of the last layer. */
function shared(plane) {
	const { point, changes } = plane;
	const { layers, features } = plane.prior;
	const field = layers.filter((layer) => layer.latent).length - 1;
	const maps = { [field]: features === "cosine" ? cosineField(plane) : fourierField(plane) };
	const modulations = floats(changes?.kl.length);
	if (changes) addSamples(plane, changes.start, 0, changes, modulations, (i) => point.modulation_scale[i]);
	let at = 0;
	layers.forEach((layer, i) => {
		if (layer.latent) return;
		const x = maps[i - 1];
		let [weights, bias] = [point[`w${i}`], point[`b${i}`]];
		if (changes && i > field + 1) {
			const C = x.depth * layer.fold * layer.fold;
			const O = weights.length / (layer.window * layer.window * C);
			const [ofInputs, ofOutputs, shifts] = [C, O, O].map((count) => modulations.subarray(at, (at += count)));
			weights = weights.map((w, n) => w * (1 + ofInputs[floor(n / O) % C]) * (1 + ofOutputs[n % O]));
			bias = bias.map((b, n) => b + shifts[n % O]);
		}
		const y = layered(plane, layer, x, weights, bias);
		const added = maps[layer.residual_of]?.data;
		for (let n = 0; n < added?.length; n++) y.data[n] += added[n];
		maps[i] = y;
	});
	return maps[layers.length - 1].data;
}

/** A layer without what it adds of an earlier one; biases are one row for all positions, or a row for every class. */
function layered({ prior, rows, columns, classes }, { kind, omega, window, fold }, x, weights, bias) {
	const height = whole((rows * prior.tile) / fold); // in positions
	const width = whole((columns * prior.tile) / fold);
	const inputs = whole(x.depth * fold * fold);
	const outputs = whole(weights.length / (window * window * inputs));
	const sums = convolved(x.data, weights, { height, width, fold, window, inputs, outputs });
	const run = whole(ceil(outputs / fold)); // numbers side by side
	const data = floats(height * fold * width * run);
	const between = (i, count) => clamp(((i + 0.5) * fold) / prior.tile - 0.5, count); // centres of tiles
	const row = (r, c) => (bias.length > outputs ? classes[floor(r) * columns + floor(c)] * outputs : 0);
	const [sine, silu] = [kind === "sine", kind === "silu"];
	for (let r = 0, n = 0; r < height; r++) {
		const top = between(r, rows);
		const below = min(top + 1, rows - 1);
		const down = top % 1;
		for (let c = 0; c < width; c++) {
			const left = between(c, columns);
			const right = min(left + 1, columns - 1);
			const across = left % 1;
			let i = row(top, left), j = row(top, right), k = row(below, left), l = row(below, right);
			for (let u = 0; u < fold; u++) {
				let to = ((r * fold + u) * width + c) * run;
				for (const end = min(n + run, outputs * (r * width + c + 1)); n < end; n++, to++) {
					const upper = bias[i] + across * (bias[j++] - bias[i++]);
					const lower = bias[k] + across * (bias[l++] - bias[k++]);
					const y = omega * (sums[n] + upper + down * (lower - upper));
					data[to] = sine ? sin(y) : silu ? y / (1 + Math.exp(-y)) : y;
				}
			}
		}
	}
	return { data, depth: outputs / (fold * fold) };
}

/**
 * Sums of the positions in a window about every one, edges repeated, times weights [row][column][input][output]. With a
 * window of 3 x 3 squares of 4 x 4 are made at once, of the 6 x 6 that they look at, with 36 products instead of 144:
 * Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, 2016).
 */
function convolved(x, weights, { height, width, fold, window, inputs, outputs }) {
	const fast = window === 3;
	const side = fast ? 4 : 1; // of a square
	const reach = fast ? 6 : window; // of what it looks at
	const parts = reach * reach;
	const count = 2 * whole(ceil(width / side / 2)); // squares of a row
	const run = whole(ceil(inputs / fold));
	const deep = fours(fold * run);
	const wide = fours(outputs);
	const [seen, sums, half] = [deep, wide, max(deep, wide)].map((depth) => floats(parts * count * depth));
	const inside = (i, count) => whole(clamp(i - (window >> 1), count));
	const matrices = prepared(weights, window, inputs, outputs, deep, wide);
	const out = floats(height * width * outputs);
	for (let row = 0; row < height; row += side) {
		for (let k = 0; k < parts; k++) {
			const top = inside(row + floor(k / reach), height) * fold;
			for (let n = 0; n < count; n++) {
				const left = inside(n * side + (k % reach), width);
				let to = (fast ? k * count + n : n * parts + k) * deep;
				for (let u = 0; u < fold; u++) {
					let from = ((top + u) * width + left) * run;
					for (const end = from + run; from < end; from++, to++) seen[to] = x[from];
				}
			}
		}
		if (fast) {
			bothWays(sixths, seen, half, count * deep);
			multiply(seen, matrices, sums, 36, count * deep, count, deep, wide);
			bothWays(fourths, sums, half, count * wide);
		} else multiply(seen, matrices, sums, 1, 0, count, parts * deep, wide);
		for (let k = 0; k < side * side; k++) {
			const r = row + floor(k / side);
			for (let n = 0, c = k % side; r < height && c < width; n++, c += side) {
				const from = (k * count + n) * wide;
				const to = (r * width + c) * outputs;
				for (let o = 0; o < outputs; o++) out[to + o] = sums[from + o];
			}
		}
	}
	return out;
}

const fours = (count) => (count + 3) & ~3;

const SHARES = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]; // of 3 weights, in 1/24
const known = new WeakMap();

/** Weights as `convolved` multiplies by them; computed once. */
function prepared(weights, window, inputs, outputs, deep, wide) {
	if (known.has(weights)) return known.get(weights);
	const same = (k) => filled(window, (t) => (k === t ? 24 : 0));
	const shares = window === 3 ? SHARES : Array.from({ length: window }, (_, k) => same(k));
	const reach = shares.length;
	const out = floats(reach * reach * deep * wide);
	for (let k = 0; k < reach * reach; k++) {
		for (let t = 0; t < window * window; t++) {
			const share = (shares[floor(k / reach)][floor(t / window)] * shares[k % reach][t % window]) / 576;
			for (let i = 0; share && i < inputs; i++) {
				const to = (k * deep + i) * wide, from = (t * inputs + i) * outputs;
				for (let o = 0; o < outputs; o++) out[to + o] += share * weights[from + o];
			}
		}
	}
	known.set(weights, out);
	return out;
}

/** Transforms numbers [6][6][run] along both axes, in place. */
function bothWays(along, x, half, run) {
	const rows = along(x, 0, half, 0, 6 * run);
	for (let r = 0; r < rows; r++) along(half, r * 6 * run, x, r * rows * run, run);
}

/** What becomes of six inputs along an axis. */
function sixths(x, from, y, to, run) {
	for (const end = from + run; from < end; from++, to++) {
		const b = x[from + run], c = x[from + 2 * run], d = x[from + 3 * run], e = x[from + 4 * run];
		y[to] = 4 * x[from] - 5 * c + e;
		y[to + run] = e - 4 * c + (d - 4 * b);
		y[to + 2 * run] = e - 4 * c - (d - 4 * b);
		y[to + 3 * run] = e - c + 2 * (d - b);
		y[to + 4 * run] = e - c - 2 * (d - b);
		y[to + 5 * run] = 4 * b - 5 * d + x[from + 5 * run];
	}
	return 6;
}

/** The same of six products. */
function fourths(x, from, y, to, run) {
	for (const end = from + run; from < end; from++, to++) {
		const b = x[from + run], c = x[from + 2 * run], d = x[from + 3 * run], e = x[from + 4 * run];
		y[to] = x[from] + b + c + d + e;
		y[to + run] = b - c + 2 * (d - e);
		y[to + 2 * run] = b + c + 4 * (d + e);
		y[to + 3 * run] = b - c + 8 * (d - e) + x[from + 5 * run];
	}
	return 4;
}

/** Sums y[n][o] of x[n][i] * w[i][o], two by four at once; so for all parts of w and y, and of x that are `step` apart. */
function multiply(x, w, y, parts, step, count, inputs, outputs) {
	for (let part = 0; part < parts; part++) {
		for (let o = 0; o < outputs; o += 4) {
			for (let n = 0; n < count; n += 2) {
				let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
				let i = part * step + n * inputs;
				let j = part * inputs * outputs + o;
				for (const end = i + inputs; i < end; i++, j += outputs) {
					const a = x[i], b = x[i + inputs], w0 = w[j], w1 = w[j + 1], w2 = w[j + 2], w3 = w[j + 3];
					(a0 += a * w0), (a1 += a * w1), (a2 += a * w2), (a3 += a * w3);
					(b0 += b * w0), (b1 += b * w1), (b2 += b * w2), (b3 += b * w3);
				}
				const p = (part * count + n) * outputs + o;
				const q = p + outputs;
				(y[p] = a0), (y[p + 1] = a1), (y[p + 2] = a2), (y[p + 3] = a3);
				(y[q] = b0), (y[q + 1] = b1), (y[q + 2] = b2), (y[q + 3] = b3);
			}
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
	const arrays = points.map((point) =>
		Object.entries(point).map(([name, [type, ...shape]]) => {
			const bytes = shape.reduce((a, b) => a * b, type === "f2" ? 2 : 1);
			return [name, READERS[type], file.subarray(at, (at += bytes))];
		}),
	);
	check(at === file.length, "a prior for the web that is not whole");
	const unpacked = [];
	const point = (number) => {
		check(number < points.length, `prior ${prior.name} has no operating point ${number}`);
		return (unpacked[number] ??= unpack(arrays[number]));
	};
	const digest = prior.digest.match(/../g).map((pair) => parseInt(pair, 16));
	const own = points[0].mean[1];
	const size = architecture.side ** 2 * own;
	const walk = prior.mixed ? order(size) : Uint32Array.from({ length: size }, (_, i) => i);
	return { ...prior, ...architecture, digest, hash: prior.digest.slice(0, 8), own, order: walk, point };
}

const READERS = {
	u1: (bytes) => bytes,
	i1: (bytes) => new Int8Array(bytes),
	/** Half precision, all low bytes before all high ones. */
	f2: (bytes) =>
		filled(bytes.length / 2, (i) => {
			const high = bytes[bytes.length / 2 + i];
			const [sign, exponent, fraction] = [high > 127 ? -1 : 1, (high >> 2) & 31, ((high & 3) << 8) | bytes[i]];
			return (sign * (exponent ? (1024 + fraction) * (1 << exponent) : 2 * fraction)) / 2 ** 25;
		}),
};

function unpack(arrays) {
	const point = Object.fromEntries(arrays.map(([name, read, bytes]) => [name, read(bytes)]));
	point.single = point.kl.length / point.mean.length;
	point.count = point.single + (point.merged?.length ?? 0) / point.mean.length / 4;
	return point;
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
	const { readable, writable } = new DecompressionStream("gzip"); // a Blob's stream would slow all arrays of numbers in V8
	const writer = writable.getWriter();
	const [unpacked] = await Promise.all([new Response(readable).arrayBuffer(), writer.write(bytes), writer.close()]);
	return new Uint8Array(unpacked);
}

/** Bytes of a data: URL in base64. */
function bytesOf(url) {
	const [, base64] = url.match(/^data:[^,]*;base64,(.*)$/s) ?? [];
	check(base64 !== undefined, "not a data: URL in base64");
	return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
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
