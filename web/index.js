/** The package `combiner-preview`: README.md tells the use. */

import { FormatError } from "./header.js";
import { png } from "./png.js";
import { decode } from "./preview.js";
import { averageColor, size } from "./size.js";

/** A preview as a PNG's data: URL, made without a canvas. */
function toDataURL(source, options) {
	return png(decode(source, options));
}

export { averageColor, decode, FormatError, size, toDataURL };
