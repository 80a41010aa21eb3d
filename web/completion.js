import { basis, coefficients, cosineField, eachLine, floats, mix, turn } from "./core.js";

// Section 7, completion: latents without bits where tiles of two sizes meet.

const CELL = 4; // pixels along the side of the squares whose means make a smooth field

/** A field of cosines, completed where the picture is. For a part with `REACH` tiles more than are shown on every side. */
export function completedField(part) {
	const data = coefficients(part);
	if (!(part.plane.completes ??= completes(part.plane))) return cosineField(part, data);
	const smooth = mix(part, smoothed(cosineField(part, data.slice()), part), -1);
	for (const down of [false, true]) eachLine(part, smooth, down, analysed);
	turn(part, smooth, true);
	return cosineField(part, data.map((latent, i) => latent || smooth[i]));
}

export const REACH = 7;

function completes({ head: { width, height }, prior, point, classes }) {
	const area = width * height, large = area > 16384 && area <= 2 ** 22 && Math.min(width, height) >= prior.tile * prior.side;
	const merged = (tile) => tile >= point.single;
	return large && !!point.modulation_kl && classes.some(merged) && !classes.every(merged);
}

/** Turns samples of a tile's line to coefficients. */
function analysed(data, at, step, hop, _, __, last) {
	const table = basis(hop, last), sums = floats(hop);
	for (let k = 0; k < hop; k++) for (let i = 0; i < hop; i++) sums[k] += data[at + i * step] * table[k * hop + i];
	for (let k = 0; k < hop; k++) data[at + k * step] = sums[k];
}

/** Means of cells, each with its neighbours, and bilinear between their centres. */
function smoothed(field, { rows, cols, plane: { prior } }) {
	const height = rows * prior.tile, width = cols * prior.tile, high = height / CELL, wide = width / CELL;
	const means = floats(3 * high * wide), out = floats(field.length);
	for (let i = 0; i < field.length; i++) {
		const pixel = Math.floor(i / 3), r = Math.floor(pixel / width), c = pixel % width;
		means[3 * (Math.floor(r / CELL) * wide + Math.floor(c / CELL)) + (i % 3)] += field[i] / CELL ** 2;
	}
	withNeighbours(means, high, 3 * wide, Array(3 * wide).keys());
	withNeighbours(means, wide, 3, Array.from(Array(3 * high).keys(), (n) => Math.floor(n / 3) * 3 * wide + (n % 3)));
	for (let i = 0; i < out.length; i++) {
		const pixel = Math.floor(i / 3), [top, below, down] = near(Math.floor(pixel / width), high), [left, right, across] = near(pixel % width, wide);
		const at = (r, c) => means[3 * (r * wide + c) + (i % 3)];
		const upper = at(top, left) + across * (at(top, right) - at(top, left));
		const lower = at(below, left) + across * (at(below, right) - at(below, left));
		out[i] = upper + down * (lower - upper);
	}
	return out;
}

/** The cells before and after a pixel along a line of so many, and the share of the latter. */
function near(pixel, count) {
	const place = Math.max(0, Math.min((pixel + 0.5) / CELL - 0.5, count - 1)), before = Math.floor(place);
	return [before, Math.min(before + 1, count - 1), place - before];
}

/** A quarter of each neighbour and half of the mean itself along lines of so many cells; those at the ends are repeated. */
function withNeighbours(means, count, step, starts) {
	for (const start of starts) {
		const line = Array.from({ length: count }, (_, i) => means[start + i * step]);
		const at = (i) => line[Math.max(0, Math.min(i, count - 1))];
		for (let i = 0; i < count; i++) means[start + i * step] = (at(i - 1) + 2 * at(i) + at(i + 1)) / 4;
	}
}
