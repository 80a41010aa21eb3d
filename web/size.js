/** What a preview tells without its prior. */

import { bytesOf, readHeader } from "./header.js";

const BLOCKS = [0, 32, 32, 64, 64, 64]; // pixels of a side that a file leaves out, by the prior's number

/** @type {(source: Uint8Array|ArrayBuffer|string) => {width: number, height: number}} of a released prior's file */
export function size(source) {
	const { width, height, number } = readHeader(bytesOf(source));
	return { width: width || BLOCKS[number], height: height || BLOCKS[number] };
}

/** @type {(url: string) => string|null} the colour that `combiner preview --json` writes into its URLs: "#rrggbb" */
export function averageColor(url) {
	const [, colour] = /^data:[^,]*;color=([0-9a-f]{6})[;,]/i.exec(url) ?? [];
	return colour ? `#${colour}` : null;
}
