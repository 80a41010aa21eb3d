/** The first layers of priors that are networks on sines and cosines of places (FORMAT.md, section 7). */

import { eachTile, filled, floats, layered, split } from "./core.js";

/** Outputs of tiles that are networks on sines and cosines of places. */
export function fourierField(part) {
	const { rows, cols, plane } = part, { tile, stored } = plane.prior, { inputs } = stored[0];
	const features = filled(tile * tile * inputs, (n) => {
		const [pixel, input] = split(n, inputs), i = input % (inputs / 2), octave = i % (inputs / 4);
		const along = split(pixel, tile)[+(i !== octave)];
		const phase = ((2 * along + 1) / tile - 1) * Math.PI * 2 ** (octave - 1);
		return input === i ? Math.sin(phase) : Math.cos(phase);
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
