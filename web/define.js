/** Defines <img-cmb>; decoder and prior are loaded when the first of them is near the viewport. */

import { serve } from "./element.js";

serve(() => import("./preview.js").then(({ decode }) => decode));
