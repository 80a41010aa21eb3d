// What web/combiner.js makes of priors: pairs of prior and file in, each behind its length in 4 bytes; a line each out.
import { readFileSync } from "node:fs";
import { Combiner, FormatError, gunzipped } from "../web/combiner.js";

const input = readFileSync(0);
let at = 0;
const next = () => {
  const start = at + 4;
  at = start + input.readUInt32LE(at);
  return new Uint8Array(input.subarray(start, at));
};

function tried(what) {
  try {
    return what();
  } catch (error) {
    if (error instanceof FormatError) return { error: error.message };
    return { crash: error.stack };
  }
}

while (at < input.length) {
  const [prior, file] = [next(), next()];
  let unpacked;
  try {
    unpacked = await gunzipped(prior);
  } catch (error) {
    console.log(JSON.stringify({ prior: error instanceof FormatError ? { error: error.message } : { crash: error.stack } }));
    continue;
  }
  const combiner = tried(() => new Combiner(unpacked));
  const told = { prior: combiner instanceof Combiner ? {} : combiner };
  if (combiner instanceof Combiner && file.length) {
    const shown = tried(() => combiner.decode(file));
    told.file = shown.data ? { data: Buffer.from(shown.data).toString("base64") } : shown;
  }
  console.log(JSON.stringify(told));
}
