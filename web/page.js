/** For pages without a build: scripts/web_package.py makes one file of it and all that it imports, but for the prior. */

import { serve } from "./element.js";
import { FormatError } from "./header.js";
import { decode } from "./preview.js";
import { averageColor, size } from "./size.js";

serve(() => Promise.resolve(decode));

export { averageColor, decode, FormatError, size };
