// Decodes files with web/combiner.js: {priors: [paths], files: [base64], maxPixels} in, a line {width, height, data} or {error} each out.
import { readFileSync } from "node:fs";
import { Combiner, FormatError, gunzipped } from "../web/combiner.js";

const { priors, files, maxPixels } = JSON.parse(readFileSync(0));
const combiner = new Combiner(...(await Promise.all(priors.map((path) => gunzipped(readFileSync(path))))));
for (const file of files) {
  try {
    const { width, height, data } = combiner.decode(new Uint8Array(Buffer.from(file, "base64")), { maxPixels });
    console.log(JSON.stringify({ width, height, data: Buffer.from(data).toString("base64") }));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    console.log(JSON.stringify({ error: error.message }));
  }
}
