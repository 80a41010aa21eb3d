/**
 * Decoder of .cmb pictures for browsers and Node. Sections are those of FORMAT.md; README.md tells the use.
 * bytes -> header -> classes of tiles -> indices -> latents -> field -> pixels. Integers are exact, floats are double.
 *
 * @typedef {Uint8Array|string} Source bytes of a file, or a data: URL
 * @typedef {{maxPixels?: number}} Options larger pictures are refused, counted in whole tiles: 2^20
 */

const { abs, ceil, clz32, cos, exp, floor, fround, max, min, PI, round, sin, sqrt } = Math;
const floats = (length) => new Float64Array(length);
const filled = (length, of) => floats(length).map((_, i) => of(i));
const clamp = (i, count) => max(0, min(i, count - 1));
const split = (n, by) => [floor(n / by), n % by];

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
	 * A decoder with priors of some addresses. The first of a page also serves its <img-cmb> elements.
	 * @param {...(string|URL)} urls
	 * @returns {Promise<Combiner>}
	 */
	static async load(...urls) {
		const combiner = new Combiner(...(await Promise.all(urls.map(fetched))));
		resolve(combiner);
		return combiner;
	}

	/**
	 * Pixels of a file, four bytes each; grey ones have three equal values.
	 * @type {(source: Source, options?: Options) => ImageData} outside browsers an object of width, height and data
	 * @throws {FormatError} unless the file is whole and undamaged
	 */
	decode(source, { maxPixels = 2 ** 20 } = {}) {
		const bytes = typeof source === "string" ? bytesOf(source) : source;
		const head = readHeader(bytes), { number, hash } = head;
		const fits = (width, height, what) =>
			check(width * height <= maxPixels, `${width} x ${height} ${what} are more than ${maxPixels}`);
		fits(head.width, head.height, "pixels");
		const prior = this.priors.find((own) => own.number === number && (!hash || hash === own.hash));
		check(prior || !hash, `made with a custom prior of hash ${hash}: name its file`);
		check(prior, `unknown prior ${number}: the file is damaged, or newer than this version: update combiner`);
		const block = prior.tile * prior.side, width = (head.width ||= block), height = (head.height ||= block);
		fits(width, height, "pixels");
		const unit = head.points.some((point) => point < 30) ? prior.tile : 1;
		fits(ceil(width / unit) * unit, ceil(height / unit) * unit, "pixels of whole tiles");
		check(
			bytes.at(-2) + 256 * bytes.at(-1) === crc16(bytes.subarray(0, -2), prior.crc),
			"checksum mismatch: the file is damaged, or it was made with another prior of this name: " +
				"get the file again, or decode it with the version of combiner that made it",
		);
		const bits = new Bits(bytes.subarray(head.end, -2));
		const planes = head.points.map((point, i) => readPlane(bits, head, prior, point, i > 0 || head.grey));
		const need = ceil(bits.at / 8), size = bits.size / 8;
		check(need === size && !bits.number(bits.at, bits.size), `payload of ${size} bytes where ${need} are expected`);
		const [data, alpha] = planes.map((plane) => pixels(plane, width, height));
		for (let i = 3; i < alpha?.length; i += 4) data[i] = ((2 * alpha[i - 1] - 255) * 2 ** head.sharpness + 255) >> 1;
		return globalThis.ImageData ? new ImageData(data, width, height) : { width, height, data };
	}

	/** @type {(source: Source, options?: Options) => string} the same as a PNG's data: URL; in browsers only */
	toDataURL(source, options) {
		return painted(this.decode(source, options)).toDataURL();
	}
}

// Section 2: header

function readHeader(data) {
	const [magic = 0xcb, letter = 0x4d, what, how] = data;
	const version = magic === 0xcb && letter - 0x4c;
	check(version < 2 || version > 14, `format version ${version} is not supported (this is version 1): update combiner`);
	check(version === 1, "not a combiner file");
	check(data.length >= 6, `truncated: ${data.length} bytes are too few for a header`);
	const inRange = (fine) => check(fine, "a header field is out of range");
	let end = 4;
	const byte = () => {
		check(end < data.length - 2, "truncated in the header");
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
	inRange(channels < 3);
	const hash = number === 15 && [0, 0, 0, 0].map(() => byte().toString(16).padStart(2, "0")).join("");
	const width = side(what & 1), height = side(what & 2);
	let indexBits = USUAL_BITS[how >> 6], seed = 0n;
	if (!indexBits) {
		indexBits = byte();
		seed = varint(63n);
		inRange(indexBits >= 8 && indexBits <= 22 && indexBits % 2 === 0 && (seed || !USUAL_BITS.includes(indexBits)));
	}
	const alpha = how & 32 && byte();
	if (how & 32) points.push(alpha & 31);
	return { number, hash, grey: channels > 0, width, height, indexBits, seed, points, sharpness: alpha >> 5, end };
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
	constructor(bytes) {
		Object.assign(this, { bytes, size: 8 * bytes.length, at: 0 });
	}

	get left() {
		return max(0, this.size - this.at);
	}

	/** Refuses to have read beyond the end. */
	whole() {
		const need = ceil(this.at / 8);
		check(this.at <= this.size, `truncated: payload of ${this.size >> 3} bytes where ${need} are expected`);
	}

	/** The number in some bits, highest first; zeros follow the last. */
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

/** What a plane's bits say: one colour, or classes and groups. Memory is that of file and classes. */
function readPlane(bits, head, prior, number, grey) {
	if (number === 31) {
		const next = () => bits.take(8) / 255;
		const colour = grey ? Array(3).fill(next()) : [next(), next(), next()];
		bits.whole();
		return { colour, grey };
	}
	const { groupBits, indexBits, side, tile } = prior, point = prior.points[number];
	check(point, `prior ${prior.name} has no operating point ${number}`);
	point.unpack();
	const coder = groupBits < indexBits ? head.indexBits >= groupBits : head.indexBits === indexBits;
	check(coder, `prior ${prior.name} cannot have made this file`);
	const rows = ceil(head.height / tile), cols = ceil(head.width / tile), area = head.width * head.height;
	const modulated = point.modulation_kl && area > 16384 && bits.take(1);
	bits.whole();
	const few = point.count === 1 && rows * cols > side * side * bits.left;
	check(!few, `truncated: ${bits.left >> 3} bytes are too few for ${rows} x ${cols} tiles`);
	const classes = classMap(bits, rows, cols, point);
	const plane = { bits, head, prior, point, grey, rows, cols, classes, abreast: ceil(cols / side) }; // in blocks
	const placed = (stream) => {
		stream.start = bits.at;
		bits.at += groupBits * stream.groups;
		return bits.at <= bits.size && stream;
	};
	if (modulated) {
		const [levels, size] = point.shapes.modulation_kl;
		const at = size * min(31 - clz32(area / 16384), levels - 1); // a row of cost indices
		plane.changes = placed(grouped(point.modulation_kl.subarray(at, at + size), order(size), prior));
		bits.whole();
	}
	plane.starts = filled(plane.abreast * ceil(rows / side), (n) => placed(partition(plane, ...split(n, plane.abreast))).start);
	bits.whole();
	return plane;
}

/** Arithmetic-coded classes. */
function classMap(bits, rows, cols, { count, single, contexts }) {
	if (count === 1) return new Uint16Array(rows * cols);
	const { left } = bits, most = left * 2 ** (single < count ? 18 : 16), tiles = `the classes of ${rows} x ${cols} tiles`;
	check(rows * cols * (single - 1) <= most, `truncated: ${left} bits are too few for ${tiles}`);
	const classes = new Uint16Array(rows * cols);
	const end = bits.at + left + 30; // the decoder is so far ahead of the map
	const at = (r, c) => (r < 0 || c < 0 || c >= cols ? count : classes[r * cols + c]);
	const table = (n, neighbour) => contexts.subarray((n * (count + 1) + neighbour) * count);
	let low = 0, span = WORD, code = bits.take(32); // an interval's start and length, and where in it the bits are
	for (let n = 0; n < classes.length; n++) {
		const [r, c] = split(n, cols);
		const inside = (r | c) & 1; // of a merged tile, if one begins at the even row and column before
		const begun = at(r & ~1, c & ~1);
		if (inside && begun >= single) {
			classes[n] = begun;
			continue;
		}
		const may = inside || r + 1 === rows || c + 1 === cols ? single : count;
		const [l, u, v] = [table(0, at(r, c - 1)), table(1, at(r - 1, c)), table(2, at(r - 1, c + 1))];
		const scores = Array.from({ length: may }, (_, k) => l[k] + u[k] + v[k]), most = max(...scores);
		let total = 0;
		const ends = [0, ...scores.map((score) => (total += frequency(most - score)))];
		const part = (k) => floor(span / total) * ends[k] + floor(((span % total) * ends[k]) / total);
		let k = 0;
		while (part(k + 1) <= code) k++;
		classes[n] = k;
		const start = part(k);
		span = part(k + 1) - start;
		code -= start;
		low += start;
		while (true) {
			const high = low + span, settled = high <= WORD / 2 || low >= WORD / 2; // the first bit
			if (!settled && (low < WORD / 4 || high > 0.75 * WORD)) break;
			low = ((settled ? low : low - WORD / 4) * 2) % WORD; // else the interval straddles the middle
			span *= 2;
			code = code * 2 + bits.take(1);
		}
		check(bits.at <= end, `truncated: ${tiles} take over ${left} bits`);
	}
	bits.at -= 30;
	return classes;
}

const frequency = (x) => max(1, floor(round(2 ** (16 - (x % 16) / 16)) / 2 ** (x >> 4)));

// Section 4: random numbers

const words = new BigUint64Array(4); // the last four drawn; below the same in pieces, lowest first
const [halves, pieces, octets] = [Uint32Array, Uint16Array, Uint8Array].map((Type) => new Type(words.buffer));

/** Draws four words of Philox4x64-10. */
function draw(seed, purpose, lane, row, n) {
	halves.set([n + 1, 0, lane, 0, purpose, 0, row, 0]);
	for (let i = 0, k = seed, l = 1n; i < 10; i++, k += 0x9e3779b97f4a7c15n, l += 0xbb67ae8584caa73bn) {
		const p = words[0] * 0xd2e7470ee14c6c93n, q = words[2] * 0xca5a826395121157n;
		words[0] = (q >> 64n) ^ words[1] ^ k; // stored without what is above 64 bits
		words[2] = (p >> 64n) ^ words[3] ^ l;
		words[1] = q;
		words[3] = p;
	}
}

/** The walk: latents by their words, of which 53 bits tell the first million apart. */
function order(latents) {
	const ranks = filled(latents, (i) => {
		if (i % 4 === 0) draw(0n, 2, 0, 0, i / 4);
		return Number(words[i % 4]);
	});
	return Uint32Array.from(ranks.keys()).sort((i, j) => ranks[i] - ranks[j]);
}

/** Normal quantile of 16 bits, by Halley's steps. */
function normal(piece) {
	const p = (piece + 0.5) / 65536 - 0.5;
	let x = 0, miss = 1;
	while (abs(miss) > 1e-6) {
		let sum = 0; // x + x^3 / 3 + x^5 / (3 * 5) + ...: area from 0 to x by height at x
		for (let n = 1, term = x; sum !== (sum += term); n += 2) term *= (x * x) / (n + 2);
		miss = p * sqrt(2 * PI) * exp((x * x) / 2) - sum;
		x += miss / (1 - (miss * x) / 2);
	}
	return fround(x);
}

// Section 5: partition

/** Groups of the block in this row and column of blocks. Those of all of them would fill the memory. */
function partition({ prior, point, grey, rows, cols, classes }, y, x) {
	const { own, side } = prior, kl = new Uint8Array(prior.order.length), colours = prior.features === "cosine" ? 3 : 1;
	for (let n = 0; n < side * side; n++) {
		const r = y * side + floor(n / side), c = x * side + (n % side);
		if (r >= rows || c >= cols) continue;
		const name = classes[r * cols + c], merged = 4 * (name - point.single) + (r % 2) * 2 + (c % 2);
		const [table, row] = name < point.single ? [point.kl, name] : [point.merged, merged];
		for (let i = 0; i < own; i++) {
			kl[n * own + i] = table[row * own + ((i % colours) * own) / colours + floor(i / colours)];
		}
	}
	if (grey && colours > 1) kl.forEach((_, i) => i % 3 && (kl[i] = 0));
	return grouped(kl, prior.order, prior);
}

const cost = (kl) => (kl * kl) >> 4; // in 1/256 bit

/** Groups of latents with these cost indices: the coded ones in order, and the group of each. */
function grouped(kl, order, { groupBits, indexBits }) {
	const walk = order.filter((i) => cost(kl[i])), capacity = 256 * groupBits, chained = groupBits < indexBits;
	let groups = 0, total = 0;
	const group = walk.map((i) => {
		total += cost(kl[i]);
		if (chained) return round((total - 1) / capacity);
		if (!groups || total > capacity) [groups, total] = [groups + 1, cost(kl[i])];
		return groups - 1;
	});
	if (chained) groups = round(total / capacity);
	return { kl, groups, walk: walk.subarray(0, groups && walk.length), group: group.map((g) => min(g, groups - 1)) };
}

// Sections 6 and 7: indices and latents

/** Adds to some latents what their stream says. */
function addSamples({ prior, bits, head }, block, { start, walk, group }, out, scaleOf) {
	const signs = new Uint8Array(out.length / 8 + 32);
	for (let n = 0; 256 * n < out.length; n++) {
		draw(head.seed, 1, block, 0, n);
		signs.set(octets, 32 * n);
	}
	for (let n = 0, k = 0; n < walk.length; n++, k++) {
		const i = walk[n], g = group[n];
		if (g !== group[n - 1]) k = 0;
		if (k % 16 === 0) {
			const end = start + (g + 1) * prior.groupBits;
			draw(head.seed, 0, g, k / 16, bits.number(max(start, end - head.indexBits), end));
		}
		const sign = (signs[i >> 3] >> (i & 7)) & 1 ? -1 : 1;
		out[i] += fround(scaleOf(i)) * sign * normal(pieces[k % 16]);
	}
}

/** Calls with row, column and latents of every tile of a part. */
function eachTile({ plane, rows, cols, top, left }, call) {
	const { prior, point, starts, abreast } = plane, { own, side } = prior;
	for (let y = floor(top / side); y * side < top + rows; y++) {
		for (let x = floor(left / side); x * side < left + cols; x++) {
			const number = y * abreast + x, block = partition(plane, y, x);
			const latents = filled(prior.order.length, (i) => point.mean[i % own]);
			const scaleOf = (i) => point.noise[i % own] * sqrt(2 ** (cost(block.kl[i]) / 128) - 1);
			addSamples(plane, number, { ...block, start: starts[number] }, latents, scaleOf);
			for (let n = 0; n < side * side; n++) {
				const r = y * side + floor(n / side) - top, c = x * side + (n % side) - left;
				if (min(r, c, rows - 1 - r, cols - 1 - c) >= 0) call(r, c, latents.subarray(n * own, (n + 1) * own));
			}
		}
	}
}

// Section 7: field. A map has some numbers for every pixel, row by row.

/** Lapped cosines of all tiles. */
function cosineField(part) {
	const { plane, rows, cols, top, left } = part, { point, prior } = plane, { tile } = prior;
	const width = 3 * cols * tile, data = floats(rows * tile * width), sums = floats(2 * tile);
	const sizeOf = (r, c) => (classAt(part, r, c) < point.single ? 1 : 2); // of a tile, in tiles
	eachTile(part, (r, c, latents) => {
		const size = sizeOf(r, c), i = r % size, j = c % size; // in a merged tile
		for (let v = 0, n = 0; v < tile; v++) {
			let to = ((r - i) * tile + v * size + i) * width + ((c - j) * tile + j) * 3;
			for (let h = 0; h < tile; h++, to += 3 * size) for (let k = 0; k < 3; k++) data[to + k] = latents[n++];
		}
	});
	for (const work of [transform, mix]) {
		for (const down of [true, false]) {
			const [tiles, step, aside, end] = down ? [rows, width, 3, plane.rows - top] : [cols, 3, width, plane.cols - left];
			for (let line = 0; line < data.length / (tiles * tile); line++) {
				const [place, k] = split(line, 3), start = place * aside + k, across = floor(place / tile);
				for (let t = 0, before = 0, here; t < tiles; t += here, before = here) {
					here = down ? sizeOf(t, across) : sizeOf(across, t);
					work(data, start + t * tile * step, step, here * tile, before * tile, t + here === end, sums);
				}
			}
		}
	}
	return data;
}

const cosines = []; // [frequency][sample], by a tile's size and whether it is the last

/** Turns coefficients of a tile's line to samples. */
function transform(data, at, step, hop, _, last, sums) {
	const table = (cosines[2 * hop + last] ??= filled(hop * hop, (n) => {
		const [k, i] = split(n, hop);
		return sqrt((last && !k ? 1 : 2) / hop) * cos((PI * (i + 0.5) * (k + (last ? 0 : 0.5))) / hop);
	}));
	sums.fill(0);
	for (let k = 0; k < hop; k++) {
		const x = data[at + k * step];
		if (x) for (let i = 0; i < hop; i++) sums[i] += x * table[k * hop + i];
	}
	for (let i = 0; i < hop; i++) data[at + i * step] = sums[i];
}

/** Mixes samples of a line on both sides of a border. */
function mix(data, border, step, hop, before) {
	const half = min(hop, before) / 2;
	for (let i = 0; i < half; i++) {
		const angle = (PI / 4) * (1 + (i + 0.5) / half), s = sin(angle), c = cos(angle);
		const above = border - (i + 1) * step, below = border + i * step, a = data[above], b = data[below];
		data[above] = s * a + c * b;
		data[below] = s * b - c * a;
	}
}

/** Outputs of tiles that are networks on sines and cosines of places. */
function fourierField(part) {
	const { rows, cols, plane } = part, { tile, stored } = plane.prior, { inputs } = stored[0];
	const features = filled(tile * tile * inputs, (n) => {
		const [pixel, input] = split(n, inputs), i = input % (inputs / 2), octave = i % (inputs / 4);
		const along = split(pixel, tile)[+(i !== octave)];
		const phase = ((2 * along + 1) / tile - 1) * PI * 2 ** (octave - 1);
		return input === i ? sin(phase) : cos(phase);
	});
	const line = tile * stored.at(-1).outputs, data = floats(rows * tile * cols * line); // line: a tile's row
	eachTile(part, (r, c, latents) => {
		let x = features, at = 0;
		const take = (count, scale) => latents.slice(at, (at += count)).map((theta) => scale * theta);
		for (const layer of stored) {
			const { inputs, outputs, scale } = layer, weights = take(inputs * outputs, scale);
			const bias = layer.bias ? take(outputs, scale) : floats(outputs);
			x = layered({ plane, rows: 1, cols: 1 }, { ...layer, weights, bias }, x);
		}
		for (let i = 0; i < tile; i++) {
			data.set(x.subarray(i * line, (i + 1) * line), ((r * tile + i) * cols + c) * line);
		}
	});
	return data;
}

// Section 7: shared layers

/** Four bytes of every pixel, rounded: colour or three times grey, and opaque. 32 x 32 tiles at once bound the memory. */
function pixels(plane, width, height) {
	const { colour, grey, prior, rows, cols } = plane;
	const out = new Uint8ClampedArray(width * height * 4).fill(255); // it rounds halves to even
	if (colour) return out.map((opaque, i) => (i % 4 < 3 ? 255 * colour[i % 4] : opaque));
	const { layers, tile } = prior, own = sharedLayers(plane);
	const margin = layers.reduce((sum, { window, fold }) => sum + (window >> 1) * fold, 0);
	const more = 2 * ceil((margin / tile + 1) / 2); // tiles that they look at on every side, one of them for borders
	for (let n = 0, across = ceil(cols / 32); n < across * ceil(rows / 32); n++) {
		const [r, c] = split(n, across).map((i) => 32 * i), [top, left] = [r, c].map((i) => max(0, i - more));
		const wide = min(cols, c + 32 + more) - left, high = min(rows, r + 32 + more) - top;
		const y = shared({ plane, top, left, rows: high, cols: wide }, own);
		for (let i = r * tile; i < min(height, (r + 32) * tile); i++) {
			for (let j = c * tile; j < min(width, (c + 32) * tile); j++) {
				const at = 3 * ((i - top * tile) * wide * tile + j - left * tile);
				const mean = (y[at] + y[at + 1] + y[at + 2]) / 3;
				for (let k = 0; k < 3; k++) out[4 * (i * width + j) + k] = 255 * (grey ? mean : y[at + k]);
			}
		}
	}
	return out;
}

const classAt = ({ plane, top, left }, r, c) => plane.classes[(top + r) * plane.cols + left + c];

/** Shared layers with their weights and biases. */
function sharedLayers(plane) {
	const { point, changes, prior } = plane, modulations = floats(changes?.kl.length);
	if (changes) addSamples(plane, 0, changes, modulations, (i) => point.modulation_scale[i]);
	let at = 0;
	return prior.layers.slice(prior.stored.length).map((layer, n) => {
		const i = prior.stored.length + n, [, , inputs, outputs] = point.shapes[`w${i}`];
		let weights = point[`w${i}`], bias = point[`b${i}`];
		if (changes && n) {
			const [a, g, s] = [inputs, outputs, outputs].map((count) => modulations.subarray(at, (at += count)));
			weights = weights.map((w, n) => w * (1 + a[floor(n / outputs) % inputs]) * (1 + g[n % outputs]));
			bias = bias.map((b, n) => b + s[n % outputs]);
		}
		return { ...layer, inputs, outputs, weights, bias };
	});
}

/** Output of the last layer. */
function shared(part, layers) {
	const { features, stored } = part.plane.prior, maps = [];
	maps[stored.length - 1] = (features === "cosine" ? cosineField : fourierField)(part);
	for (const layer of layers) maps.push(layered(part, layer, maps.at(-1), maps[layer.residual_of]));
	return maps.at(-1);
}

/** A layer and what it adds of an earlier one. A row of pixels has its positions' numbers side by side. */
function layered(part, layer, x, added) {
	const { rows, cols } = part, { prior } = part.plane, { weights, bias } = layer;
	const { kind, omega, fold, outputs } = layer;
	const size = prior.tile / fold, height = rows * size, width = cols * size; // in positions
	const run = ceil(outputs / fold) | 0, out = floats(height * fold * width * run); // run: numbers abreast
	const near = (i, count) => clamp((i + 0.5) / size - 0.5, count); // in tiles, from centre to centre
	const row = (r, c) => (bias.length > outputs ? classAt(part, r, c) * outputs : 0);
	convolved(x, weights, layer, height, width, (sums, from, r, c) => {
		const y = near(r, rows), top = floor(y), below = ceil(y), down = y - top;
		const x = near(c, cols), left = floor(x), right = ceil(x), across = x - left;
		const i = row(top, left), j = row(top, right), k = row(below, left), l = row(below, right);
		for (let u = 0, o = 0; u < fold; u++) {
			let to = ((r * fold + u) * width + c) * run;
			for (const end = min(o + run, outputs); o < end; o++, to++) {
				const upper = bias[i + o] + across * (bias[j + o] - bias[i + o]);
				const lower = bias[k + o] + across * (bias[l + o] - bias[k + o]);
				const y = omega * (sums[from + o] + upper + down * (lower - upper));
				const bent = kind === "sine" ? sin(y) : kind === "silu" ? y / (1 + exp(-y)) : y;
				out[to] = added ? bent + added[to] : bent;
			}
		}
	});
	return out;
}

/**
 * Calls with every position's sums: a window about it, edges repeated, times weights [row][column][input][output]. If that is
 * 3 x 3, Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, 2016) makes squares of 4 x 4 with 36 products each instead of 144.
 */
function convolved(x, weights, { fold, window, inputs, outputs }, height, width, call) {
	const fast = window === 3;
	const [side, reach] = fast ? [4, 6] : [1, window]; // of a square, and of what it looks at
	const parts = reach * reach, count = (2 * ceil(width / side / 2)) | 0; // squares of a row
	const run = ceil(inputs / fold) | 0, deep = fold * run, wide = (3 * ceil(outputs / 3)) | 0;
	const [seen, sums, half] = [deep, wide, max(deep, wide)].map((depth) => floats(parts * count * depth));
	const inside = (i, count) => clamp(i - (window >> 1), count);
	const matrices = prepared(weights, window, reach, inputs, outputs, deep, wide);
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
			bothWays(seen, half, count * deep);
			multiply(seen, matrices, sums, 36, count, deep, wide);
			bothWays(sums, half, count * wide, true);
		} else multiply(seen, matrices, sums, 1, count, parts * deep, wide);
		for (let k = 0; k < side * side; k++) {
			const r = row + floor(k / side);
			for (let n = 0, c = k % side; r < height && c < width; n++, c += side) call(sums, (k * count + n) * wide, r, c);
		}
	}
}

const SHARES = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]; // of 3 weights, in 1/24
const known = new WeakMap();

/** Weights as `convolved` multiplies by them; computed once. */
function prepared(weights, window, reach, inputs, outputs, deep, wide) {
	if (known.has(weights)) return known.get(weights);
	const share = (k, t) => (window === 3 ? SHARES[k][t] / 24 : +(k === t));
	const out = floats(reach * reach * deep * wide);
	for (let k = 0; k < reach * reach; k++) {
		for (let t = 0; t < window * window; t++) {
			const part = share(floor(k / reach), floor(t / window)) * share(k % reach, t % window);
			for (let i = 0; part && i < inputs; i++) {
				const to = (k * deep + i) * wide, from = (t * inputs + i) * outputs;
				for (let o = 0; o < outputs; o++) out[to + o] += part * weights[from + o];
			}
		}
	}
	known.set(weights, out);
	return out;
}

/** Transforms [6][6][run] along both axes, in place: inputs, or sums, which become [4][4][run]. */
function bothWays(x, half, run, sums) {
	along(x, 0, half, 0, 6 * run, sums);
	for (let r = 0, rows = sums ? 4 : 6; r < rows; r++) along(half, r * 6 * run, x, r * rows * run, run, sums);
}

/** The same along one axis. */
function along(x, from, y, to, run, sums) {
	for (const end = from + run; from < end; from++, to++) {
		const a = x[from], b = x[from + run], c = x[from + 2 * run];
		const d = x[from + 3 * run], e = x[from + 4 * run], f = x[from + 5 * run];
		if (sums) {
			y[to] = a + b + c + d + e;
			y[to + run] = b - c + 2 * (d - e);
			y[to + 2 * run] = b + c + 4 * (d + e);
			y[to + 3 * run] = b - c + 8 * (d - e) + f;
		} else {
			const p = e - 4 * c, q = d - 4 * b, s = e - c, t = 2 * (d - b);
			(y[to] = 4 * a - 5 * c + e), (y[to + run] = p + q), (y[to + 2 * run] = p - q);
			(y[to + 3 * run] = s + t), (y[to + 4 * run] = s - t), (y[to + 5 * run] = 4 * b - 5 * d + f);
		}
	}
}

/** Sums y[part][n][o] of x[part][n][i] * w[part][i][o], two by three at once. */
function multiply(x, w, y, parts, count, inputs, outputs) {
	for (let part = 0; part < parts; part++) {
		for (let o = 0; o < outputs; o += 3) {
			for (let n = 0; n < count; n += 2) {
				let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
				let i = (part * count + n) * inputs, j = part * inputs * outputs + o;
				for (const end = i + inputs; i < end; i++, j += outputs) {
					const s = x[i], t = x[i + inputs], u = w[j], v = w[j + 1], z = w[j + 2];
					(a += s * u), (b += s * v), (c += s * z), (d += t * u), (e += t * v), (f += t * z);
				}
				const p = (part * count + n) * outputs + o, q = p + outputs;
				(y[p] = a), (y[p + 1] = b), (y[p + 2] = c), (y[q] = d), (y[q + 1] = e), (y[q + 2] = f);
			}
		}
	}
}

// Section 8: priors for the web, which may come from a stranger

const BUDGET = 2 ** 26; // bytes unpacked
const ARCHITECTURE = { features: "", tile: 0, layers: [], side: 1 };
const LAYER = {
	kind: "", inputs: 0, outputs: 0, latent: false, bias: true, window: 1,
	omega: 1, scale: 1, residual_of: null, by_class: false, fold: 1,
};

function need(fine, what) {
	check(fine, `not a prior for the web (${what})`);
}

const integer = (x, least, most, what) => need(Number.isInteger(x) && x >= least && x <= most, what);
const oneOf = (x, values, what) => need(values.includes(x), what);

/** An object of no other fields, those that are missing filled in. */
function withDefaults(found, defaults, what) {
	need(found?.constructor === Object && Object.keys(found).every((key) => Object.hasOwn(defaults, key)), what);
	return { ...defaults, ...found };
}

/** @param {Uint8Array} file */
function readPrior(file) {
	const view = new DataView(file.buffer, file.byteOffset, file.length);
	need(file.length > 8 && file.length <= BUDGET && view.getUint32(0) === 0x434d4257, "its beginning or size");
	let at = 8 + view.getUint32(4, true), head;
	need(at <= min(file.length, 2 ** 20), "size of its head");
	try {
		head = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file.subarray(8, at)));
	} catch {
		need(false, "its head is not JSON");
	}
	need(head?.constructor === Object, "its head");
	const { name, number, digest, groupBits, indexBits, arrays } = head;
	need(typeof name === "string" && typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest), "name or digest");
	integer(number, 0, 15, "number");
	integer(indexBits, 8, 22, "index width");
	need(indexBits % 2 === 0, "index width");
	integer(groupBits, 1, indexBits, "group width");
	const architecture = readArchitecture(head.architecture), { own, side } = architecture, points = [];
	need(Array.isArray(arrays) && arrays.every(Array.isArray), "arrays");
	for (const [index, member, type, ...shape] of arrays) {
		integer(index, 0, 29, "number of an operating point");
		const point = (points[index] ??= { shapes: Object.create(null), types: {}, reads: [] });
		need(typeof member === "string" && !(member in point.shapes), "names of arrays");
		point.shapes[member] = shape;
		point.types[member] = type;
	}
	need(points.length && Array.from(points).every(Boolean), "operating points");
	for (const point of points) {
		Object.assign(point, checkShapes(point, architecture));
		point.unpack = () => point.reads.splice(0).forEach((read) => read()); // once, when first used
	}
	for (const [index, member, type, ...shape] of arrays) {
		const bytes = file.subarray(at, (at += shape.reduce((a, b) => a * b, type === "f2" ? 2 : 1)));
		need(at <= file.length, "it is cut off");
		if (member !== "kl" && member !== "merged") checkNumbers(bytes, member, type);
		points[index].reads.push(() => (points[index][member] = (READERS[type] ?? multiples)(bytes, type)));
	}
	need(at === file.length, "bytes are left over");
	const crc = crc16(digest.match(/../g).map((pair) => parseInt(pair, 16))), hash = digest.slice(0, 8);
	return { ...architecture, name, number, groupBits, indexBits, hash, crc, points, order: order(side ** 2 * own) };
}

function readArchitecture(found) {
	const { features, tile, side, layers: given } = withDefaults(found, ARCHITECTURE, "architecture");
	oneOf(features, ["cosine", "fourier"], "features");
	integer(tile, 2, 256, "tile");
	need(tile % 2 === 0, "tile");
	integer(side, 1, 64, "side");
	need(Array.isArray(given) && given.length > 0 && given.length <= 32, "layers");
	const layers = given.map(readLayer), stored = layers.filter((layer) => layer.latent), first = stored.length;
	need(first && stored.every((layer, i) => layer === layers[i]), "latent layers come first");
	const cosine = features === "cosine";
	let { inputs, outputs, kind, bias } = layers[0], margin = 0, multiplies = 0, own = 0;
	if (cosine) need(first === 1 && kind === "linear" && inputs === tile * tile && outputs === 3 && !bias, "cosines");
	else need(inputs % 4 === 0 && inputs <= 64 && side === 1, "Fourier features");
	layers.forEach((layer, i) => {
		const { window, fold, residual_of: added, latent } = layer;
		if (latent) {
			need(window === 1 && fold === 1 && added === null, "a latent layer");
			need(cosine || (layer.kind !== "silu" && layer.inputs === inputs), "latent layers do not follow each other");
			inputs = layer.outputs;
			own += (layer.inputs + layer.bias) * layer.outputs;
		} else {
			need(tile % (2 * fold) === 0 && (added === null || (added >= first - 1 && added < i)), "a shared layer");
			margin += (window >> 1) * fold;
		}
		if (!cosine || !latent) multiplies += (window ** 2 * layer.inputs * layer.outputs) / fold ** 2;
	});
	if (cosine) own = 3 * tile ** 2;
	need(side ** 2 * own <= 2 ** 18 && margin <= 64 && multiplies <= 2 ** 18, "layers cost too much");
	return { features, tile, side, layers, stored, own };
}

function readLayer(found) {
	const layer = withDefaults(found, LAYER, "a layer"), { residual_of: added } = layer;
	oneOf(layer.kind, ["linear", "sine", "silu"], "kind");
	oneOf(layer.fold, [1, 2, 4, 8, 16], "fold");
	integer(layer.window, 1, 15, "window");
	need(layer.window % 2, "window");
	for (const key of ["inputs", "outputs"]) integer(layer[key], 1, 2 ** 16, key);
	for (const key of ["latent", "bias", "by_class"]) oneOf(layer[key], [true, false], key);
	for (const key of ["omega", "scale"]) need(typeof layer[key] === "number" && abs(layer[key]) <= 1e6, key);
	need(added === null || Number.isInteger(added), "residual_of");
	return layer;
}

/** Checks types and shapes of an operating point's arrays; how many classes it has. */
function checkShapes({ shapes, types }, { features, side, layers, stored, own }) {
	const rows = (name) => (integer(shapes[name]?.[0], 1, 256, name), shapes[name][0]);
	const single = rows("kl"), merged = "merged" in shapes ? rows("merged") : 0, count = single + merged;
	need(count <= 256 && (!merged || (features === "cosine" && side % 2 === 0)), "classes");
	const columns = features === "cosine" ? [3, own / 3] : [1, own];
	const expected = { kl: ["u1", single, ...columns], mean: ["f2", own], noise: ["f2", own] };
	if (merged) expected.merged = ["u1", merged, 4, ...columns];
	if (count > 1) expected.contexts = ["i1", 3, count + 1, count];
	const outputs = [[stored.at(-1).outputs, 1]]; // channels and fold of the field and of every shared layer
	const folded = ([channels, fold], wanted) => {
		need(fold === wanted || channels % fold ** 2 === 0, "channels that are folded");
		return fold === wanted ? channels : (channels / fold ** 2) * wanted ** 2;
	};
	let changes = 0;
	layers.slice(stored.length).forEach((layer, n) => {
		const i = stored.length + n, { fold, window, residual_of: added } = layer, bias = shapes[`b${i}`] ?? [];
		const inputs = folded(outputs[n], fold), channels = bias.at(-1);
		integer(channels, 1, layer.outputs, "outputs");
		need(inputs <= layer.inputs, "inputs");
		expected[`w${i}`] = ["f2", window, window, inputs, channels];
		expected[`b${i}`] = bias.length === 2 ? ["f2", count, channels] : ["f2", channels];
		if (added !== null) need(folded(outputs[added + 1 - stored.length], fold) === channels, "residual_of");
		if (n) changes += inputs + 2 * channels;
		outputs.push([channels, fold]);
	});
	need(folded(outputs.at(-1), 1) === 3, "the last layer");
	if ("modulation_kl" in shapes || "modulation_scale" in shapes) {
		need(changes && rows("modulation_kl") <= 64, "modulations");
		expected.modulation_kl = ["u1", rows("modulation_kl"), changes];
		expected.modulation_scale = ["f2", changes];
	}
	need(Object.keys(expected).length === Object.keys(shapes).length, "arrays");
	for (const [name, [type, ...shape]] of Object.entries(expected)) {
		const step = types[name]; // of bytes that stand for floats
		need(JSON.stringify(shapes[name]) === JSON.stringify(shape), `shape of ${name}`);
		need(step === type || (type === "f2" && typeof step === "number" && step > 0 && step <= 65504), `type of ${name}`);
	}
	return { single, count };
}

/** Refuses floats that are not finite, scales that are negative, and noise of 0. */
function checkNumbers(bytes, name, type) {
	const positive = name === "noise", signed = !positive && name !== "modulation_scale", half = type === "f2";
	if (typeof type === "string" && !half) return;
	for (let i = half ? bytes.length / 2 : 0, low = 0; i < bytes.length; i++, low++) {
		const fine = !half || (bytes[i] & 0x7c) < 0x7c;
		need(fine && (signed || bytes[i] < 128) && (!positive || bytes[i] || (half && bytes[low])), `numbers of ${name}`);
	}
}

const multiples = (bytes, step) => floats(new Int8Array(bytes)).map((x) => x * step);
const READERS = {
	u1: (bytes) => bytes,
	i1: (bytes) => new Int8Array(bytes),
	/** Half precision, all low bytes before all high ones. */
	f2: (bytes) => {
		const count = bytes.length / 2, words = new Int32Array(count);
		for (let i = 0; i < count; i++) words[i] = (((bytes[count + i] << 24) | (bytes[i] << 16)) >> 3) & 0x8fffe000;
		return floats(new Float32Array(words.buffer)).map((x) => x * 2 ** 112); // for its other bias
	},
};

// What pages need

async function fetched(url) {
	const answer = await fetch(url);
	check(answer.ok, `${url}: ${answer.status} ${answer.statusText}`);
	return gunzipped(new Uint8Array(await answer.arrayBuffer()));
}

/** Bytes, unpacked if they are gzip; no more of them than a prior may have. */
export async function gunzipped(bytes) {
	if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
	const { readable, writable } = new DecompressionStream("gzip"); // a Blob's stream would slow all arrays of numbers in V8
	const writer = writable.getWriter(), reader = readable.getReader(), parts = [];
	let size = 0;
	try {
		writer.write(bytes).catch(() => {}); // the reader hears of it
		writer.close().catch(() => {});
		for (let part; !(part = await reader.read()).done; parts.push(part.value)) {
			size += part.value.length;
			need(size <= BUDGET, "its size");
		}
	} catch (error) {
		reader.cancel().catch(() => {});
		throw error instanceof FormatError ? error : new FormatError("not a prior for the web (its compression)");
	}
	const unpacked = new Uint8Array(size);
	for (let at = 0, n = 0; n < parts.length; at += parts[n++].length) unpacked.set(parts[n], at);
	return unpacked;
}

/** Bytes of a data: URL in base64. */
function bytesOf(url) {
	const [, base64] = url.match(/^data:[^,]*;base64,(.*)$/s) ?? [];
	check(base64 !== undefined, "not a data: URL in base64");
	return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

let resolve;
const first = new Promise((done) => (resolve = done)); // decoder of the page

/** A canvas that shows an image. */
function painted(image) {
	const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
	canvas.getContext("2d").putImageData(image, 0, 0);
	return canvas;
}

/**
 * <img-cmb src="data:..."> paints itself at the picture's size, or smoothly scaled to the size that CSS gives it. What cannot
 * be shown leaves it empty and raises an `error` event. Its max-pixels are as in Options.
 */
class Element extends (globalThis.HTMLElement ?? Object) {
	static observedAttributes = ["src", "max-pixels"];

	get maxPixels() {
		return +(this.getAttribute("max-pixels") ?? 2 ** 20);
	}

	set maxPixels(count) {
		this.setAttribute("max-pixels", count);
	}

	async attributeChangedCallback() {
		const change = (this.change = {}), combiner = await first;
		if (change !== this.change) return; // changed again
		try {
			const canvas = painted(combiner.decode(this.getAttribute("src") ?? "", this));
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
