/**
 * What every decoder of .cmb pictures needs, for priors that are known to be sound. Sections are those of FORMAT.md.
 * bytes -> header -> classes of tiles -> indices -> latents -> field -> pixels. Integers are exact, floats are double.
 */

import { bytesOf, check, EXACT, FormatError, POINTS, readHeader } from "./header.js";

const { abs, ceil, clz32, cos, exp, floor, fround, max, min, PI, round, sin, sqrt } = Math;
export const floats = (length) => new Float64Array(length);
export const filled = (length, of) => floats(length).map((_, i) => of(i));
export const split = (n, by) => [floor(n / by), n % by];
const clamp = (i, count) => max(0, min(i, count - 1));

const WORD = 2 ** 32;
const NAMES = ["", "small", "combiner-cifar", "photo", "web", "nano"]; // of released priors, by number

/**
 * Pixels of a file, four bytes each; grey ones have three equal values. Raises FormatError unless it is whole and undamaged.
 * Larger pictures than `maxPixels`, counted in whole tiles, are refused.
 */
export function decodeWith(priors, source, options) {
	const { head, planes } = readFile(priors, source, options), { width, height } = head;
	const [data, alpha] = planes.map((plane) => pixels(plane, width, height));
	if (alpha) sharpen(data, alpha, head.sharpness);
	return { width, height, data };
}

/** Sets the opacity of pixels to a plane's. */
export function sharpen(data, alpha, sharpness) {
	for (let i = 3; i < alpha.length; i += 4) data[i] = ((2 * alpha[i - 1] - 255) * 2 ** sharpness + 255) >> 1;
}

/** Header and planes of a file. `exact` reads planes without loss: (bits, head) -> plane. */
export function readFile(priors, source, { maxPixels = 2 ** 20, exact } = {}) {
	const bytes = bytesOf(source);
	const head = readHeader(bytes), { number, hash } = head;
	const fits = (width, height, what) =>
		check(width * height <= maxPixels, `${width} x ${height} ${what} are more than ${maxPixels}`);
	fits(head.width, head.height, "pixels");
	let prior = priors.find((known) => known.number === number && (!hash || hash === known.hash));
	check(prior || !hash, `made with a custom prior of hash ${hash}: name its file`);
	if (!prior && NAMES[number]) {
		const here = priors.map(({ name }) => name).join(", ") || "none";
		throw new FormatError(`made with the prior ${NAMES[number]}; this page has ${here}`);
	}
	check(prior, `unknown prior ${number}: the file is damaged, or newer than this version: update combiner`);
	const block = prior.tile * prior.side, width = (head.width ||= block), height = (head.height ||= block);
	fits(width, height, "pixels");
	const unit = head.points.some((point) => point < POINTS) ? prior.tile : 1;
	fits(ceil(width / unit) * unit, ceil(height / unit) * unit, "pixels of whole tiles");
	const { short, last } = head, stored = short ? bytes[last] << 8 : bytes[last] + 256 * bytes[last + 1];
	check(
		stored === crc(bytes.subarray(0, last), short, crc(prior.digest, short)),
		"checksum mismatch: the file is damaged, or it was made with another prior of this name: " +
			"get the file again, or decode it with the version of combiner that made it",
	);
	const bits = new Bits(bytes.subarray(head.end, last)), widths = [prior.groupBits].flat();
	prior = { ...prior, groupBits: widths[clamp((head.indexBits - 14) / 2, widths.length)] };
	const kinds = head.points.slice(0, head.points[0] === EXACT ? 1 : 2); // that plane has the alpha, too
	const planes = kinds.map((point, i) => {
		if (point === EXACT && exact) return exact(bits, head);
		return readPlane(bits, head, prior, point, i > 0 || head.grey);
	});
	const need = ceil(bits.at / 8), size = bits.size / 8;
	check(need === size && !bits.number(bits.at, bits.size), `payload of ${size} bytes where ${need} are expected`);
	return { head, planes };
}

/** CRC-16, or CRC-8 in the higher byte. */
function crc(data, short, value = short ? 0xff00 : 0xffff) {
	const polynomial = short ? 0x1d00 : 0x1021;
	for (const byte of data) {
		value ^= byte << 8;
		for (let i = 0; i < 8; i++) value = ((value << 1) ^ (polynomial * (value >> 15))) & 0xffff;
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
	check(number !== EXACT, "a WebP or PNG is inside, which this decoder leaves to the browser");
	check(point, `prior ${prior.name} has no operating point ${number}`);
	point.unpack();
	const coder = groupBits < indexBits ? head.indexBits >= groupBits : head.indexBits === indexBits;
	check(coder, `prior ${prior.name} cannot have made this file`);
	check(!head.axes || prior.features === "cosine", `prior ${prior.name} has no colour axes`);
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

/** Costs of a tile's lowest frequencies beyond its class's, which their kind says. */
function shiftsOf({ prior, point, rows, cols, classes }, r, c) {
	const { pyramid } = prior, merged = classes[r * cols + c] >= point.single;
	let kind = 0;
	for (let level = 0, unit = 1; level < pyramid; level++, unit *= 2) {
		const cut = (i, count) => i - (i % (2 * unit)) + 2 * unit > count;
		if ((r | c) % unit || cut(r, rows) || cut(c, cols) || (merged && !level)) continue;
		kind = 2 * level + ((r | c) % (2 * unit) ? 1 : 2) + (merged ? 2 * pyramid - 2 : 0);
	}
	return kind ? point.kindCosts[kind - 1] : [];
}

/** Groups of the block in this row and column of blocks. Those of all of them would fill the memory. */
function partition(plane, y, x) {
	const { prior, point, grey, rows, cols, classes } = plane;
	const { own, side } = prior, kl = new Uint8Array(prior.order.length), colours = prior.features === "cosine" ? 3 : 1;
	for (let n = 0; n < side * side; n++) {
		const r = y * side + floor(n / side), c = x * side + (n % side);
		if (r >= rows || c >= cols) continue;
		const name = classes[r * cols + c], merged = 4 * (name - point.single) + (r % 2) * 2 + (c % 2);
		const [table, row] = name < point.single ? [point.kl, name] : [point.merged, merged];
		for (let i = 0; i < own; i++) {
			kl[n * own + i] = table[row * own + ((i % colours) * own) / colours + floor(i / colours)];
		}
		shiftsOf(plane, r, c).forEach((shift, k) => {
			const i = n * own + k, wanted = cost(kl[i]) && min(cost(kl[i]) + shift, cost(255));
			for (kl[i] = 0; cost(kl[i]) < wanted; ) kl[i]++;
		});
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
	for (let n = 0, k = 0, index; n < walk.length; n++, k++) {
		const i = walk[n], g = group[n];
		if (g !== group[n - 1]) k = 0;
		if (k % 4 === 0) {
			const end = start + (g + 1) * prior.groupBits;
			index = bits.number(max(start, end - head.indexBits), end);
			draw(head.seed, 0, g, k / 4, index >> 2);
		}
		const sign = (signs[i >> 3] >> (i & 7)) & 1 ? -1 : 1;
		out[i] += fround(scaleOf(i)) * sign * normal(pieces[4 * (index & 3) + (k % 4)]);
	}
}

/** Calls with row, column and latents of every tile of a part. */
export function eachTile({ plane, rows, cols, top, left }, call) {
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

/** Side of the tile that one is part of, in tiles. */
const sizeOf = (part, r, c) => (classAt(part, r, c) < part.plane.point.single ? 1 : 2);

/** Coefficients of all tiles, where their samples will be. */
export function coefficients(part) {
	const { tile } = part.plane.prior, width = 3 * part.cols * tile, data = floats(part.rows * tile * width);
	eachTile(part, (r, c, latents) => {
		const size = sizeOf(part, r, c), i = r % size, j = c % size; // in a merged tile
		for (let v = 0, n = 0; v < tile; v++) {
			let to = ((r - i) * tile + v * size + i) * width + ((c - j) * tile + j) * 3;
			for (let h = 0; h < tile; h++, to += 3 * size) for (let k = 0; k < 3; k++) data[to + k] = latents[n++];
		}
	});
	return data;
}

/** Lapped cosines: coefficients to samples, in place. */
export function cosineField(part, data = coefficients(part)) {
	turn(part, data);
	for (const down of [true, false]) eachLine(part, data, down, transform);
	return mix(part, data, 1);
}

/** Sums and differences of lowest frequencies to these, in place; back undoes it. */
export function turn({ plane, rows, cols, top, left }, data, back) {
	const { tile, pyramid } = plane.prior, step = 3 * tile, line = cols * tile * step;
	for (let level = 0; level < pyramid; level++) {
		const unit = 2 ** (back ? level : pyramid - 1 - level), side = 2 * unit, across = unit * step, down = unit * line;
		for (let r = 0; r + side <= rows; r += side) for (let c = 0; c + side <= cols; c += side) {
			for (let k = 0; k < 3 && (unit > 1 || sizeOf({ plane, top, left }, r, c) < 2); k++) {
				const at = r * line + c * step + k, places = [at, at + across, at + down, at + across + down];
				const [p, q, s, t] = places.map((i) => data[i] / 2);
				[p + q + s + t, p - q + s - t, p + q - s - t, p - q - s + t].forEach((x, n) => (data[places[n]] = x));
			}
		}
	}
	return data;
}

/** Work for every tile of every column of samples, or row. */
export function eachLine(part, data, down, work) {
	const { plane, rows, cols, top, left } = part, { tile } = plane.prior, width = 3 * cols * tile;
	const [tiles, step, aside, end] = down ? [rows, width, 3, plane.rows - top] : [cols, 3, width, plane.cols - left];
	for (let line = 0; line < data.length / (tiles * tile); line++) {
		const [place, k] = split(line, 3), start = place * aside + k, across = floor(place / tile);
		for (let t = 0, before = 0, here; t < tiles; t += here, before = here) {
			here = down ? sizeOf(part, t, across) : sizeOf(part, across, t);
			work(data, start + t * tile * step, step, here * tile, before * tile, t, t + here === end);
		}
	}
}

const cosines = []; // [frequency][sample], by a tile's size and whether it is the last

/** A tile's cosines, frequency after frequency. */
export const basis = (hop, last) =>
	(cosines[2 * hop + last] ??= filled(hop * hop, (n) => {
		const [k, i] = split(n, hop);
		return sqrt((last && !k ? 1 : 2) / hop) * cos((PI * (i + 0.5) * (k + (last ? 0 : 0.5))) / hop);
	}));

/** Turns coefficients of a tile's line to samples. */
function transform(data, at, step, hop, _, __, last) {
	const table = basis(hop, last), sums = floats(hop);
	for (let k = 0; k < hop; k++) {
		const x = data[at + k * step];
		if (x) for (let i = 0; i < hop; i++) sums[i] += x * table[k * hop + i];
	}
	for (let i = 0; i < hop; i++) data[at + i * step] = sums[i];
}

/** Mixes samples on both sides of borders. sign -1 undoes it. */
export function mix(part, data, sign) {
	// before odd tiles down and across, then before even ones
	for (const pass of sign > 0 ? [0, 1, 2, 3] : [3, 2, 1, 0]) eachLine(part, data, ~pass & 1, (_, border, step, hop, before, t) => {
		const half = t % 2 !== pass >> 1 && min(hop, before) / 2;
		for (let i = 0; i < half; i++) {
			const angle = (PI / 4) * (1 + (i + 0.5) / half), s = sin(angle), c = sign * cos(angle);
			const above = border - (i + 1) * step, below = border + i * step, a = data[above], b = data[below];
			data[above] = s * a + c * b;
			data[below] = s * b - c * a;
		}
	});
	return data;
}

// Section 7: shared layers

/** Four bytes of every pixel, rounded: colour or three times grey, and opaque. 32 x 32 tiles at once bound the memory. */
export function pixels(plane, width, height) {
	const { colour, grey, prior, rows, cols } = plane;
	const out = new Uint8ClampedArray(width * height * 4).fill(255); // it rounds halves to even
	if (colour) return out.map((opaque, i) => (i % 4 < 3 ? 255 * colour[i % 4] : opaque));
	const { layers, tile } = prior, own = sharedLayers(plane);
	const margin = layers.reduce((sum, { window, fold }) => sum + (window >> 1) * fold, 0);
	const unit = 2 ** max(1, prior.pyramid);
	const more = unit * ceil((margin / tile + (prior.reach ?? 1)) / unit); // tiles on every side that they and the field look at
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
	const { point, changes, prior, head, grey } = plane, modulations = floats(changes?.kl.length);
	if (changes) addSamples(plane, 0, changes, modulations, (i) => point.modulation_scale[i]);
	let at = 0;
	return prior.layers.slice(prior.stored.length).map((layer, n) => {
		const i = prior.stored.length + n, [, , inputs, outputs] = point.shapes[`w${i}`];
		let weights = point[`w${i}`], bias = point[`b${i}`];
		if (head.axes && !grey && !n) weights = turned(weights, head.axes, outputs);
		if (changes && n) {
			const [a, g, s] = [inputs, outputs, outputs].map((count) => modulations.subarray(at, (at += count)));
			weights = weights.map((w, n) => w * (1 + a[floor(n / outputs) % inputs]) * (1 + g[n % outputs]));
			bias = bias.map((b, n) => b + s[n % outputs]);
		}
		return { ...layer, inputs, outputs, weights, bias };
	});
}

/** Weights [window][input][output] of the first shared layer for a picture with colour axes of its own. */
function turned(weights, [a, b, c], outputs) {
	const w = 128, size = w * w + a * a + b * b + c * c;
	const turn = [
		[w * w + a * a - b * b - c * c, 2 * (a * b - w * c), 2 * (a * c + w * b)],
		[2 * (a * b + w * c), w * w - a * a + b * b - c * c, 2 * (b * c - w * a)],
		[2 * (a * c - w * b), 2 * (b * c + w * a), w * w - a * a - b * b + c * c],
	];
	return weights.map((_, n) => {
		const k = floor(n / outputs) % 3, first = n - k * outputs; // component, and where the first one's weight is
		return fround(turn[k].reduce((sum, share, j) => sum + (share / size) * weights[first + j * outputs], 0));
	});
}

/** Output of the last layer. */
function shared(part, layers) {
	const { field = cosineField, stored } = part.plane.prior, maps = [];
	maps[stored.length - 1] = field(part);
	for (const layer of layers) maps.push(layered(part, layer, maps.at(-1), maps[layer.residual_of]));
	return maps.at(-1);
}

/** A layer and what it adds of an earlier one. A row of pixels has its positions' numbers side by side. */
export function layered(part, layer, x, added) {
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

// Section 8: priors

/** What a prior's file says before its arrays, and where these begin. */
export function headOf(file) {
	const { buffer, byteOffset, length } = file;
	const at = 8 + new DataView(buffer, byteOffset, length).getUint32(4, true);
	return { head: JSON.parse(new TextDecoder().decode(file.subarray(8, at))), at };
}

/** A prior of a file whose head has been checked, or comes with the page. */
export function readPrior(file, { head, at } = headOf(file)) {
	const { name, number, groupBits, indexBits, arrays, architecture } = head;
	const { features, tile, side, layers, pyramid = 0 } = architecture, stored = layers.filter((layer) => layer.latent);
	const sizes = stored.map(({ inputs, outputs, bias }) => (inputs + bias) * outputs);
	const own = features === "cosine" ? 3 * tile ** 2 : sizes.reduce((a, b) => a + b); // latents of a tile
	const points = [];
	for (const [index, member, type, ...shape] of arrays) {
		const point = (points[index] ??= { shapes: {}, reads: [] });
		const bytes = file.subarray(at, (at += shape.reduce((a, b) => a * b, type === "f2" ? 2 : 1)));
		point.shapes[member] = shape;
		point.reads.push(() => (point[member] = (READERS[type] ?? multiples)(bytes, type)));
		point.unpack = () => point.reads.splice(0).forEach((read) => read()); // once, when first used
	}
	points.forEach((point, i) => {
		const { kl, merged = [0] } = point.shapes;
		Object.assign(point, { single: kl[0], count: kl[0] + merged[0], kindCosts: head.kindCosts?.[i] });
	});
	const digest = head.digest.match(/../g).map((pair) => parseInt(pair, 16)), hash = head.digest.slice(0, 8);
	const latents = order(side ** 2 * own);
	return { name, number, groupBits, indexBits, hash, digest, points, features, tile, side, layers, pyramid, stored, own, order: latents };
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
