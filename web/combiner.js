/**
 * Decoder of .cmb pictures of any prior, for browsers and Node; README.md tells the use.
 *
 * @typedef {Uint8Array|ArrayBuffer|string} Source bytes of a file, or a data: URL
 * @typedef {{maxPixels?: number}} Options larger pictures are refused, counted in whole tiles: 2^20
 */

import { BUDGET, checkedHead, need } from "./checks.js";
import { completedField, REACH } from "./completion.js";
import { decodeWith, readPrior } from "./core.js";
import { serve } from "./element.js";
import { decodeAny } from "./exact.js";
import { fourierField } from "./fourier.js";
import { check, FormatError } from "./header.js";
import { png } from "./png.js";

/** A decoder with the priors that it knows. */
class Combiner {
	/** @param {...Uint8Array} files priors for the web */
	constructor(...files) {
		this.priors = files.map((file) => {
			const prior = readPrior(file, checkedHead(file));
			return { ...prior, ...(prior.features === "fourier" ? { field: fourierField } : { field: completedField, reach: REACH }) };
		});
	}

	/**
	 * A decoder with priors of some addresses. It also serves the page's <img-cmb> elements, if none does yet.
	 * @param {...(string|URL)} urls
	 * @returns {Promise<Combiner>}
	 */
	static async load(...urls) {
		const loaded = Promise.all(urls.map(fetched)).then((files) => new Combiner(...files));
		serve(loaded.then((combiner) => (source, options) => combiner.decodeAny(source, options)));
		return loaded;
	}

	/**
	 * Pixels of a file, four bytes each; grey ones have three equal values.
	 * @type {(source: Source, options?: Options) => {width: number, height: number, data: Uint8ClampedArray}}
	 * @throws {FormatError} unless the file is whole and undamaged
	 */
	decode(source, options) {
		return decodeWith(this.priors, source, options);
	}

	/**
	 * The same of any file, also one with a WebP or PNG inside, which the browser unpacks.
	 * @type {(source: Source, options?: Options) => Promise<{width: number, height: number, data: Uint8ClampedArray}>}
	 */
	decodeAny(source, options) {
		return decodeAny(this.priors, source, options);
	}

	/** @type {(source: Source, options?: Options) => string} the same as a PNG's data: URL */
	toDataURL(source, options) {
		return png(this.decode(source, options));
	}
}

async function fetched(url) {
	const answer = await fetch(url);
	check(answer.ok, `${url}: ${answer.status} ${answer.statusText}`);
	return gunzipped(new Uint8Array(await answer.arrayBuffer()));
}

/** Bytes, unpacked if they are gzip; no more of them than a prior may have. */
async function gunzipped(bytes) {
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

export { Combiner, FormatError, gunzipped };
