import type { Source } from "./size.js";

export { averageColor, size, type Source } from "./size.js";

/** Pixels, four bytes each, as `new ImageData(data, width, height)` takes them. */
export interface Picture {
	width: number;
	height: number;
	data: Uint8ClampedArray<ArrayBuffer>;
}

export interface Options {
	/** Larger pictures are refused, counted in whole tiles of 16 x 16 pixels: 65,536. */
	maxPixels?: number;
}

/** Thrown for every source that cannot be shown; its message says why. */
export class FormatError extends Error {
	name: "FormatError";
}

/** Pixels of a preview. Throws a FormatError. */
export function decode(source: Source, options?: Options): Picture;

/** The same as a PNG's data: URL, without a canvas. Throws a FormatError. */
export function toDataURL(source: Source, options?: Options): string;
