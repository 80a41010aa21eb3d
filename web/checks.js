/** Priors that come from a stranger: each is checked as a whole before anything of it is used (FORMAT.md, section 8). */

import { check, POINTS } from "./header.js";

export const BUDGET = 2 ** 26; // bytes unpacked
const ARCHITECTURE = { features: "", tile: 0, layers: [], side: 1, pyramid: 0 };
const LAYER = {
	kind: "", inputs: 0, outputs: 0, latent: false, bias: true, window: 1,
	omega: 1, scale: 1, residual_of: null, by_class: false, fold: 1,
};

export function need(fine, what) {
	check(fine, `not a prior for the web (${what})`);
}

const integer = (x, least, most, what) => need(Number.isInteger(x) && x >= least && x <= most, what);
const oneOf = (x, values, what) => need(values.includes(x), what);

/** An object of no other fields, those that are missing filled in. */
function withDefaults(found, defaults, what) {
	need(found?.constructor === Object && Object.keys(found).every((key) => Object.hasOwn(defaults, key)), what);
	return { ...defaults, ...found };
}

/**
 * The head of a file, with what it leaves out filled in, and where its arrays begin.
 * @param {Uint8Array} file
 */
export function checkedHead(file) {
	const view = new DataView(file.buffer, file.byteOffset, file.length);
	need(file.length > 8 && file.length <= BUDGET && view.getUint32(0) === 0x434d4257, "its beginning or size");
	let at = 8 + view.getUint32(4, true), head;
	need(at <= Math.min(file.length, 2 ** 20), "size of its head");
	try {
		head = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file.subarray(8, at)));
	} catch {
		need(false, "its head is not JSON");
	}
	need(head?.constructor === Object, "its head");
	const { name, number, digest, groupBits, indexBits, arrays } = head, begin = at;
	need(typeof name === "string" && typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest), "name or digest");
	integer(number, 0, 15, "number");
	integer(indexBits, 8, 22, "index width");
	need(indexBits % 2 === 0, "index width");
	const widths = Array.isArray(groupBits) ? groupBits : [groupBits], most = widths === groupBits ? 7 : indexBits;
	need(widths.length > 0 && widths.length < 4, "group widths");
	for (const bits of widths) integer(bits, 1, most, "group width");
	const architecture = checkArchitecture(head.architecture), points = [];
	need(Array.isArray(arrays) && arrays.every(Array.isArray), "arrays");
	for (const [index, member, type, ...shape] of arrays) {
		integer(index, 0, POINTS - 1, "number of an operating point");
		const point = (points[index] ??= { shapes: Object.create(null), types: {} });
		need(typeof member === "string" && !(member in point.shapes), "names of arrays");
		point.shapes[member] = shape;
		point.types[member] = type;
	}
	need(points.length && Array.from(points).every(Boolean), "operating points");
	for (const point of points) checkShapes(point, architecture);
	if (architecture.pyramid) checkKindCosts(head.kindCosts, points.length, 4 * architecture.pyramid - 2);
	for (const [, member, type, ...shape] of arrays) {
		const bytes = file.subarray(at, (at += shape.reduce((a, b) => a * b, type === "f2" ? 2 : 1)));
		need(at <= file.length, "it is cut off");
		if (member !== "kl" && member !== "merged") checkNumbers(bytes, member, type);
	}
	need(at === file.length, "bytes are left over");
	return { head: { ...head, architecture }, at: begin };
}

function checkArchitecture(found) {
	const { features, tile, side, layers: given, pyramid } = withDefaults(found, ARCHITECTURE, "architecture");
	oneOf(features, ["cosine", "fourier"], "features");
	integer(tile, 2, 256, "tile");
	need(tile % 2 === 0, "tile");
	integer(side, 1, 64, "side");
	integer(pyramid, 0, features === "cosine" ? 5 : 0, "pyramid");
	need(side % 2 ** pyramid === 0, "pyramid");
	need(Array.isArray(given) && given.length > 0 && given.length <= 32, "layers");
	const layers = given.map(checkLayer), stored = layers.filter((layer) => layer.latent), first = stored.length;
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
	return { features, tile, side, layers, pyramid, stored, own };
}

/** Checks costs of the kinds of lowest frequencies. */
function checkKindCosts(points, count, kinds) {
	const listed = (list, length) => need(Array.isArray(list) && list.length === length, "kindCosts");
	listed(points, count);
	for (const rows of points) {
		listed(rows, kinds);
		for (const row of rows) {
			listed(row, 3);
			for (const shift of row) integer(shift, -4096, 4096, "kindCosts");
		}
	}
}

function checkLayer(found) {
	const layer = withDefaults(found, LAYER, "a layer"), { residual_of: added } = layer;
	oneOf(layer.kind, ["linear", "sine", "silu"], "kind");
	oneOf(layer.fold, [1, 2, 4, 8, 16], "fold");
	integer(layer.window, 1, 15, "window");
	need(layer.window % 2, "window");
	for (const key of ["inputs", "outputs"]) integer(layer[key], 1, 2 ** 16, key);
	for (const key of ["latent", "bias", "by_class"]) oneOf(layer[key], [true, false], key);
	for (const key of ["omega", "scale"]) need(typeof layer[key] === "number" && Math.abs(layer[key]) <= 1e6, key);
	need(added === null || Number.isInteger(added), "residual_of");
	return layer;
}

/** Checks types and shapes of an operating point's arrays. */
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
