/** Pixels of previews of up to 64 x 64 pixels, made with `combiner preview` or `combiner encode --preview`. */

import { decodeWith, readPrior } from "./core.js";
import { bytesOf } from "./header.js";
import { inflate } from "./inflate.js";
import { NANO, UNPACKED } from "./nano.js";

const LARGEST = 2 ** 16; // pixels, unless told otherwise
let priors; // unpacked when first used

/**
 * Pixels of a preview, four bytes each: red, green, blue, opacity.
 * @throws {FormatError} unless it is whole, undamaged, of few pixels and made with the prior `nano`
 */
export function decode(source, { maxPixels = LARGEST } = {}) {
	priors ??= [readPrior(inflate(bytesOf(`data:;base64,${NANO}`), UNPACKED))];
	return decodeWith(priors, source, { maxPixels });
}
