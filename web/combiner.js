/**
 * Decoder of .cmb pictures for browsers and Node, from FORMAT.md; a prior for the web: README.md beside this file.
 *
 *     import { Combiner } from "./combiner.js";
 *     const combiner = await Combiner.load("small.cmbw");
 *     context.putImageData(combiner.decode(bytes), 0, 0);
 *
 * or in HTML, once a prior is loaded: <img-cmb src="data:image/x-combiner;base64,..."></img-cmb>
 *
 * bytes -> header -> classes of tiles -> indices -> latents -> field -> pixels, a function for each section of the page.
 * Integers are exact; BigInt stands where they pass 2^53. Pictures of all sizes are computed in double precision.
 */

const MAX_SIDE = 2 ** 20;
const MAX_PIXELS = 2 ** 24; // larger pictures are refused unless a call allows them
const CUSTOM = 15; // prior number of a file that names its prior by hash
const ONE_COLOUR = 31; // point of a plane that is the same everywhere
const USUAL_BITS = [14, 16, 18]; // index widths that a header need not write

/** A file or a prior that cannot be used; messages are those of the command. */
export class FormatError extends Error {
  name = "FormatError";
}

function check(fine, message) {
  if (!fine) throw new FormatError(message);
}

/** A decoder with the priors that it knows. */
export class Combiner {
  /** @param {...Uint8Array} files priors for the web */
  constructor(...files) {
    this.priors = files.map(readPrior);
  }

  /**
   * A decoder with the priors of some addresses. The first that a page loads also serves its <img-cmb> elements.
   * @param {...(string|URL)} urls
   * @returns {Promise<Combiner>}
   */
  static async load(...urls) {
    const combiner = new Combiner(...(await Promise.all(urls.map(fetched))));
    first.resolve(combiner);
    return combiner;
  }

  /**
   * Pixels of a file, red, green, blue and alpha each; grey ones have three equal values.
   * @param {Uint8Array|string} source bytes, or a data: URL
   * @param {{maxPixels?: number}} [options] larger pictures are refused
   * @returns {ImageData} outside browsers an object of width, height and data
   * @throws {FormatError} on anything that is not a whole, undamaged file
   */
  decode(source, { maxPixels = MAX_PIXELS } = {}) {
    const { head, planes } = this.parse(typeof source === "string" ? bytesOf(source) : source, maxPixels);
    const { width, height } = head;
    const data = new Uint8ClampedArray(4 * width * height).fill(255);
    const [colour, alpha] = planes.map((plane) => pixels(plane, width, height));
    const channels = head.channels ? 1 : 3;
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) data[4 * i + c] = colour[channels * i + (c % channels)];
      if (alpha) data[4 * i + 3] = sharper(alpha[i], head.sharpness);
    }
    return globalThis.ImageData ? new ImageData(data, width, height) : { width, height, data };
  }

  /**
   * The same as the data: URL of a PNG, for `src` of an <img>; in browsers only.
   * @returns {string}
   */
  toDataURL(source, options) {
    return painted(document.createElement("canvas"), this.decode(source, options)).toDataURL();
  }

  /** Header and planes; nothing much larger than the file is allocated. */
  parse(data, maxPixels = MAX_PIXELS) {
    const head = readHeader(data);
    const limited = () =>
      check(head.width * head.height <= maxPixels, `${head.width} x ${head.height} pixels are more than ${maxPixels}`);
    limited();
    const prior = this.prior(head);
    head.width ||= prior.tile * prior.side;
    head.height ||= prior.tile * prior.side;
    limited();
    check(
      data.at(-2) + 256 * data.at(-1) === crc16(data.subarray(0, -2), crc16(prior.digest)),
      "checksum mismatch: the file is damaged, or it was made with another prior of this name: " +
        "get the file again, or decode it with the version of combiner that made it",
    );
    const bits = new Bits(data.subarray(head.end, -2));
    const planes = [readPlane(bits, head, prior, head.point, head.channels > 0)];
    if (head.alpha !== null) planes.push(readPlane(bits, head, prior, head.alpha, true));
    const need = Math.ceil(bits.at / 8);
    check(
      8 * need === bits.size && bits.number(bits.at, bits.size) === 0,
      `payload of ${bits.size / 8} bytes where ${need} are expected`,
    );
    return { head, planes };
  }

  /** The prior that a header names. */
  prior(head) {
    const custom = head.number === CUSTOM;
    const prior = this.priors.find(
      ({ number, digest }) => number === head.number && (!custom || hex(digest.subarray(0, 4)) === head.hash),
    );
    check(prior || !custom, `made with a custom prior of hash ${head.hash}: name its file`);
    check(prior, `unknown prior ${head.number}: the file is damaged, or newer than this version: update combiner`);
    return prior;
  }
}

// Section 2: header

function readHeader(data) {
  const [first, second] = data;
  const version = second - 0x4d + 1;
  check(
    first !== 0xcb || !(version > 1 && second <= 0x5a),
    `format version ${version} is not supported (this is version 1): update combiner`,
  );
  check((first ?? 0xcb) === 0xcb && (second ?? 0x4d) === 0x4d, "not a combiner file");
  check(data.length >= 6, `truncated: ${data.length} bytes are too few for a header`);
  let end = 4;
  const byte = () => {
    check(end < data.length - 2, "truncated in the header");
    return data[end++];
  };
  const inRange = (fine) => check(fine, "a header field is out of range");
  const varint = (largest) => {
    for (let value = 0n, shift = 0n; ; shift += 7n) {
      const next = byte();
      value |= BigInt(next & 127) << shift;
      inRange(value <= largest);
      if (next > 127) continue;
      check(next || !shift, "a header field is not in its shortest form");
      return value;
    }
  };
  const side = () => Number(varint(BigInt(MAX_SIDE - 1))) + 1;
  const [, , what, how] = data;
  const head = { number: what >> 4, channels: (what >> 2) & 3, point: how & 31, seed: 0n, alpha: null, sharpness: 0 };
  inRange(head.channels < 3);
  if (head.number === CUSTOM) head.hash = hex([byte(), byte(), byte(), byte()]);
  head.width = what & 1 ? 0 : side(); // 0: the usual one
  head.height = what & 2 ? 0 : side();
  head.indexBits = USUAL_BITS[how >> 6];
  if (!head.indexBits) {
    head.indexBits = byte();
    head.seed = varint(2n ** 63n - 1n);
    const { indexBits } = head;
    inRange(indexBits >= 8 && indexBits <= 22 && indexBits % 2 === 0);
    inRange(head.seed || !USUAL_BITS.includes(indexBits));
  }
  if (how & 32) {
    const plane = byte();
    [head.alpha, head.sharpness] = [plane & 31, plane >> 5];
  }
  return { ...head, end };
}

function crc16(data, value = 0xffff) {
  for (const byte of data) {
    value ^= byte << 8;
    for (let i = 0; i < 8; i++) value = ((value << 1) ^ (0x1021 * (value >> 15))) & 0xffff;
  }
  return value;
}

// Section 3: payload

/** The payload's bits, and how far they have been read. */
class Bits {
  constructor(bytes) {
    this.bytes = bytes;
    this.size = 8 * bytes.length;
    this.at = 0;
  }

  get left() {
    return this.size - this.at;
  }

  /** Bit `i`, 0 after the last one. */
  bit(i) {
    return (this.bytes[i >> 3] >> (7 - (i & 7))) & 1;
  }

  /** The number in some bits, the highest first. */
  number(from, end) {
    let value = 0;
    for (let i = from; i < end; i++) value = value * 2 + this.bit(i);
    return value;
  }
}

/** What a plane's bits say: its one value, or classes of tiles and the place of every block's stream. */
function readPlane(bits, head, prior, number, grey) {
  const start = bits.at;
  if (number === ONE_COLOUR) {
    const channels = grey ? 1 : 3;
    check(bits.left >= 8 * channels, "truncated in the picture's colour");
    bits.at += 8 * channels;
    return { channels, value: Array.from({ length: channels }, (_, c) => bits.number(start + 8 * c, start + 8 * c + 8)) };
  }
  const { groupBits, indexBits, side, tile } = prior;
  const point = prior.point(number, grey);
  check(
    head.indexBits >= groupBits && (groupBits < indexBits || head.indexBits === indexBits),
    `prior ${prior.name} cannot have made this file`,
  );
  const rows = Math.ceil(head.height / tile);
  const columns = Math.ceil(head.width / tile);
  check(
    point.count > 1 || rows * columns <= side * side * bits.left,
    `truncated: ${bits.left >> 3} bytes are too few for ${rows} x ${columns} tiles`,
  );
  const left = bits.left;
  const classes = point.contexts ? classMap(bits, rows, columns, point) : classNumbers(bits, rows * columns, point);
  const plane = { head, prior, point, grey, rows, columns, classes, bits, channels: grey ? 1 : 3 };
  plane.across = Math.ceil(columns / side); // blocks
  plane.starts = [bits.at];
  for (let block = 0; block < plane.across * Math.ceil(rows / side); block++) {
    plane.starts.push((bits.at += groupBits * partition(plane, block).groups));
  }
  const need = Math.ceil((bits.at - start) / 8);
  check(bits.at <= bits.size, `truncated: payload of ${left >> 3} bytes where ${need} are expected`);
  return plane;
}

function classNumbers(bits, tiles, { count }) {
  const width = 32 - Math.clz32(count - 1);
  check(tiles * width <= bits.left, `truncated: ${tiles} tiles need more than ${bits.left >> 3} bytes`);
  const classes = new Uint16Array(tiles);
  for (let i = 0; i < tiles; i++) classes[i] = bits.number(bits.at, (bits.at += width));
  check(
    classes.every((c) => c < count),
    "a tile names a class that its prior does not have",
  );
  return classes;
}

const WORD = 2 ** 32;
const HALVING = Array.from({ length: 16 }, (_, i) => Math.round(2 ** (16 - i / 16)));

/** Arithmetic-coded classes, row by row. */
function classMap(bits, rows, columns, { count, single, contexts }) {
  const classes = new Uint16Array(rows * columns);
  if (count === 1) return classes;
  const { at: start, left } = bits;
  check(
    rows * columns * (single - 1) <= left * 2 ** (single < count ? 18 : 16),
    `truncated: ${left} bits are too few for the classes of ${rows} x ${columns} tiles`,
  );
  const at = (r, c) => (r < 0 || c < 0 || c >= columns ? count : classes[r * columns + c]);
  const [ends, scores] = [new Float64Array(count + 1), new Int32Array(count)];
  let [low, high, code, used] = [0, WORD - 1, bits.number(start, start + 32), 0];
  const place = (end, total) => Number((BigInt(high - low + 1) * BigInt(end)) / BigInt(total));
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const merged = at(r - (r % 2), c - (c % 2)); // of the tile with which a merged one would begin
      if ((r % 2 || c % 2) && merged >= single) {
        classes[r * columns + c] = merged;
        continue;
      }
      const may = r % 2 || c % 2 || r + 1 === rows || c + 1 === columns ? single : count;
      const rowOf = (table, neighbour) => (table * (count + 1) + neighbour) * count;
      const [l, u, v] = [rowOf(0, at(r, c - 1)), rowOf(1, at(r - 1, c)), rowOf(2, at(r - 1, c + 1))];
      let most = -Infinity;
      for (let k = 0; k < may; k++) {
        scores[k] = contexts[l + k] + contexts[u + k] + contexts[v + k];
        most = Math.max(most, scores[k]);
      }
      for (let k = 0; k < may; k++) {
        const x = most - scores[k];
        ends[k + 1] = ends[k] + Math.max(1, HALVING[x % 16] >> (x >> 4));
      }
      const total = ends[may];
      const value = Number((BigInt(code - low + 1) * BigInt(total) - 1n) / BigInt(high - low + 1));
      let k = 0;
      while (ends[k + 1] <= value) k++;
      classes[r * columns + c] = k;
      [low, high] = [low + place(ends[k], total), low + place(ends[k + 1], total) - 1];
      while (true) {
        const straddles = low >= WORD / 4 && high < (3 * WORD) / 4;
        if (high >= WORD / 2 && low < WORD / 2) {
          if (!straddles) break;
          [low, high, code] = [low - WORD / 4, high - WORD / 4, code - WORD / 4];
        }
        [low, high] = [(low * 2) % WORD, ((high * 2) % WORD) + 1];
        code = ((code * 2) % WORD) + bits.bit(start + 32 + used++);
      }
      check(used + 2 <= left, `truncated: the classes of ${rows} x ${columns} tiles take over ${left} bits`);
    }
  }
  bits.at += used + 2;
  return classes;
}

// Section 4: random numbers

const words = new Uint32Array(8); // the last four words drawn, low halves first
const pieces = new Uint16Array(words.buffer);
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const keys = new Map(); // of seeds: the ten rounds' keys, two words each

/** Four words of Philox4x64-10, into `words`. */
function draw(seed, purpose, lane, row, n) {
  if (!keys.has(seed)) {
    const rounds = Array.from({ length: 10 }, (_, i) => [seed + BigInt(i) * WEYL[0], 1n + BigInt(i) * WEYL[1]]);
    keys.clear();
    keys.set(seed, new Uint32Array(BigUint64Array.from(rounds.flat()).buffer));
  }
  const key = keys.get(seed);
  words.fill(0);
  words[0] = n + 1;
  words[2] = lane;
  words[4] = purpose;
  words[6] = row;
  for (let i = 0; i < 40; i += 4) {
    multiply64(p, words[0], words[1], 0xe14c6c93, 0xd2e7470e);
    multiply64(q, words[4], words[5], 0x95121157, 0xca5a8263);
    for (let half = 0; half < 2; half++) {
      words[half] = q[half + 2] ^ words[half + 2] ^ key[i + half];
      words[half + 2] = q[half];
      words[half + 4] = p[half + 2] ^ words[half + 6] ^ key[i + half + 2];
      words[half + 6] = p[half];
    }
  }
}

const p = new Uint32Array(4);
const q = new Uint32Array(4);

/** 64 x 64 bits to 128, in halves of words, lowest first. */
function multiply64(out, a0, a1, b0, b1) {
  const middle = high(a0, b0) + (Math.imul(a1, b0) >>> 0) + (Math.imul(a0, b1) >>> 0);
  const upper = high(a1, b0) + high(a0, b1) + (Math.imul(a1, b1) >>> 0) + Math.floor(middle / WORD);
  out[0] = Math.imul(a0, b0);
  out[1] = middle;
  out[2] = upper;
  out[3] = high(a1, b1) + Math.floor(upper / WORD);
}

/** The upper 32 bits of a product of 32-bit integers. */
function high(a, b) {
  const a0 = a & 0xffff;
  const b0 = b & 0xffff;
  const middle = (a >>> 16) * b0 + ((a0 * b0) >>> 16);
  return (a >>> 16) * (b >>> 16) + (middle >>> 16) + ((a0 * (b >>> 16) + (middle & 0xffff)) >>> 16);
}

/** The walk: latents by their words, smallest first. */
function order(latents) {
  const [upper, lower] = [new Uint32Array(latents + 3), new Uint32Array(latents + 3)];
  for (let i = 0; i < latents; i++) {
    if (i % 4 === 0) draw(0n, 2, 0, 0, i / 4);
    lower[i] = words[(i % 4) * 2];
    upper[i] = words[(i % 4) * 2 + 1];
  }
  return Uint32Array.from({ length: latents }, (_, i) => i).sort((i, j) => upper[i] - upper[j] || lower[i] - lower[j]);
}

// AS 241 (Wichura, 1988), PPND16, from the constant term up: numerator and denominator of the middle and of both tails
const CENTRE = [
  [3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125, 45921.953931549871457,
    67265.770927008700853, 33430.575583588128105, 2509.0809287301226727],
  [1, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077, 21213.794301586595867,
    39307.895800092710610, 28729.085735721942674, 5226.4952788528545610],
];
const MIDDLE = [
  [1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
    1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4],
  [1, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550, 0.148103976427480074590,
    0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9],
];

/** Standard normal quantile that a 16-bit piece stands for. */
function normal(piece) {
  const p = (piece + 0.5) / 65536 - 0.5;
  const near = 0.180625 - p * p;
  if (near >= 0) return Math.fround(p * ratio(CENTRE, near));
  return Math.fround(Math.sign(p) * ratio(MIDDLE, Math.sqrt(-Math.log(0.5 - Math.abs(p))) - 1.6));
}

function ratio([numerator, denominator], x) {
  const value = (coefficients) => coefficients.reduceRight((sum, a) => sum * x + a, 0);
  return value(numerator) / value(denominator);
}

// Section 5: partition

/** Cost indices of a block's latents: row of the tile, column of it, column of the tables. */
function costs({ prior, point, rows, columns, classes, across }, block) {
  const { side, own } = prior;
  const kl = new Uint8Array(side * side * own);
  const [top, left] = [Math.floor(block / across) * side, (block % across) * side];
  for (let r = top; r < Math.min(top + side, rows); r++) {
    for (let c = left; c < Math.min(left + side, columns); c++) {
      const k = classes[r * columns + c] - point.single;
      const table = k < 0 ? point.kl : point.merged;
      const row = k < 0 ? k + point.single : 4 * k + (r % 2) * 2 + (c % 2);
      kl.set(table.subarray(row * own, (row + 1) * own), ((r - top) * side + c - left) * own);
    }
  }
  return kl;
}

/** Cost indices and groups of a block: `walk` has the coded latents in order, `group` the group of each. */
function partition(plane, block) {
  const { order, groupBits, indexBits } = plane.prior;
  const kl = costs(plane, block);
  const cost = (i) => (kl[i] * kl[i]) >> 4;
  const walk = order.filter((i) => cost(i));
  const group = new Uint32Array(walk.length);
  const capacity = 256 * groupBits;
  if (groupBits < indexBits) {
    const half = capacity >> 1;
    const groups = Math.floor((walk.reduce((sum, i) => sum + cost(i), 0) + half) / capacity);
    let total = 0;
    for (let n = 0; n < walk.length; n++) {
      total += cost(walk[n]);
      group[n] = Math.min(Math.floor((total - 1 + half) / capacity), groups - 1);
    }
    return { kl, walk: groups ? walk : [], group, groups };
  }
  let [groups, spent] = [0, Infinity];
  for (let n = 0; n < walk.length; n++) {
    spent += cost(walk[n]);
    if (spent > capacity) [groups, spent] = [groups + 1, cost(walk[n])];
    group[n] = groups - 1;
  }
  return { kl, walk, group, groups };
}

// Sections 6 and 7: indices and latents

/** A block's latents. */
function latents(plane, block) {
  const { prior, point, bits, head, starts } = plane;
  const { own, groupBits } = prior;
  const { kl, walk, group } = partition(plane, block);
  const out = new Float64Array(kl.length);
  for (let i = 0; i < out.length; i += own) out.set(point.mean, i);
  const signs = new Uint8Array(Math.ceil(kl.length / 256) * 32);
  for (let n = 0; 32 * n < signs.length; n++) {
    draw(head.seed, 1, block, 0, n);
    signs.set(new Uint8Array(words.buffer), 32 * n);
  }
  for (let n = 0, k = 0; n < walk.length; n++, k++) {
    const i = walk[n];
    const g = group[n];
    if (g !== group[n - 1]) k = 0;
    if (k % 16 === 0) {
      const end = starts[block] + (g + 1) * groupBits;
      draw(head.seed, 0, g, k / 16, bits.number(Math.max(starts[block], end - head.indexBits), end));
    }
    const ratio = Math.sqrt(Math.expm1((2 * Math.LN2 * ((kl[i] * kl[i]) >> 4)) / 256));
    const sign = (signs[i >> 3] >> (i & 7)) & 1 ? -1 : 1;
    out[i] += Math.fround(point.noise[i % own] * ratio) * sign * normal(pieces[k % 16]);
  }
  return out;
}

// Section 7: field. A map is an object of data, height, width and channels, the last fastest; `fold` where it has one.

/** Lapped cosines of all tiles. */
function cosineField(plane) {
  const { prior, point, rows, columns, classes, across } = plane;
  const { tile, side, own } = prior;
  const width = columns * tile;
  const data = new Float64Array(rows * tile * width * 3);
  const blocks = plane.starts.slice(1).map((_, block) => latents(plane, block));
  const size = (r, c) => (classes[r * columns + c] < point.single ? 1 : 2); // of the tile, in tiles
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const s = size(r, c);
      if (r % s || c % s) continue;
      const hop = s * tile;
      const [down, right] = [basis(hop, r + s === rows), basis(hop, c + s === columns)];
      for (let v = 0; v < hop; v++) {
        const line = new Float64Array(3 * hop); // of frequency v, across
        let empty = true;
        for (let h = 0; h < hop; h++) {
          const row = r + (v % s);
          const column = c + (h % s);
          const coefficients = blocks[Math.floor(row / side) * across + Math.floor(column / side)];
          const place = ((row % side) * side + (column % side)) * own + (((v / s) | 0) * tile + ((h / s) | 0)) * 3;
          for (let k = 0; k < 3; k++) {
            const x = coefficients[place + k];
            if (x === 0) continue;
            empty = false;
            for (let j = 0; j < hop; j++) line[3 * j + k] += x * right[h * hop + j];
          }
        }
        if (empty) continue;
        for (let i = 0; i < hop; i++) {
          const start = ((r * tile + i) * width + c * tile) * 3;
          const share = down[v * hop + i];
          for (let j = 0; j < 3 * hop; j++) data[start + j] += share * line[j];
        }
      }
    }
  }
  mix(data, tile, rows, columns, 3 * width, 3, size);
  mix(data, tile, columns, rows, 3, 3 * width, (t, a) => size(a, t));
  return { data, height: rows * tile, width, channels: 3, fold: 1 };
}

/** Mixes samples at the borders between tiles along an axis; strides of samples along and across it. */
function mix(data, tile, tiles, across, along, aside, size) {
  for (let a = 0; a < across; a++) {
    for (let t = 1; t < tiles; t++) {
      if (t % 2 && size(t, a) === 2) continue; // within a merged tile
      const half = (Math.min(size(t - 1, a), size(t, a)) * tile) / 2;
      for (let i = 0; i < half; i++) {
        const angle = (Math.PI / 4) * (1 + (i + 0.5) / half);
        const sin = Math.sin(angle);
        const cos = Math.cos(angle);
        for (let n = 0; n < 3 * tile; n++) {
          const line = (a * tile + Math.floor(n / 3)) * aside + (n % 3);
          const near = line + (t * tile - 1 - i) * along;
          const far = line + (t * tile + i) * along;
          const x = data[near];
          data[near] = sin * x + cos * data[far];
          data[far] = sin * data[far] - cos * x;
        }
      }
    }
  }
}

const bases = new Map();

/** Cosines of a tile: [frequency][pixel]. */
function basis(hop, last) {
  const key = last ? -hop : hop;
  if (!bases.has(key)) {
    const shift = last ? 0 : 0.5;
    const of = (k, i) =>
      Math.sqrt((last && !k ? 1 : 2) / hop) * Math.cos((Math.PI * (i + 0.5) * (k + shift)) / hop);
    bases.set(key, Float64Array.from({ length: hop * hop }, (_, n) => of(Math.floor(n / hop), n % hop)));
  }
  return bases.get(key);
}

/** Every tile is a network of its own on sines and cosines of its pixels' places. */
function fourierField(plane) {
  const { prior, rows, columns, across } = plane;
  const { tile, side, own, layers } = prior;
  const stored = layers.filter((layer) => layer.latent);
  const channels = stored.at(-1).outputs;
  const [width, line] = [columns * tile, tile * channels];
  const data = new Float64Array(rows * tile * width * channels);
  const features = fourier(tile, layers[0].inputs);
  plane.starts.slice(1).forEach((_, block) => {
    const theta = latents(plane, block);
    for (let n = 0; n < side * side; n++) {
      const [r, c] = [Math.floor(block / across) * side + Math.floor(n / side), (block % across) * side + (n % side)];
      if (r >= rows || c >= columns) continue;
      let [x, at] = [{ data: features, height: tile, width: tile, channels: layers[0].inputs }, n * own];
      for (const { inputs, outputs, bias, scale, ...layer } of stored) {
        const scaled = (count) => theta.slice(at, (at += count)).map((t) => scale * t);
        x = convolved(x, { data: scaled(inputs * outputs), window: 1, outputs });
        activate(x, layer, bias ? scaled(outputs) : new Float64Array(outputs));
      }
      for (let i = 0; i < tile; i++) {
        data.set(x.data.subarray(i * line, (i + 1) * line), ((r * tile + i) * width + c * tile) * channels);
      }
    }
  });
  return { data, height: rows * tile, width, channels, fold: 1 };
}

function fourier(n, inputs) {
  const octaves = inputs / 4;
  const place = (i) => (2 * i + 1) / n - 1;
  return Float64Array.from({ length: n * n * inputs }, (_, at) => {
    const [pixel, i] = [Math.floor(at / inputs), at % (2 * octaves)];
    const phase = place(i < octaves ? Math.floor(pixel / n) : pixel % n) * Math.PI * 2 ** ((i % octaves) - 1);
    return at % inputs < 2 * octaves ? Math.sin(phase) : Math.cos(phase);
  });
}

// Section 7: shared layers

/** Pixels of colour or alpha, rounded: channels of the plane. */
function pixels(plane, width, height) {
  const { value, channels } = plane;
  const out = new Uint8ClampedArray(width * height * channels); // which rounds halves to even
  if (value) return out.map((_, i) => value[i % channels]);
  const shown = refold(shared(plane), 1);
  const y = shown.data;
  for (let r = 0, n = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const at = (r * shown.width + c) * 3;
      if (channels === 1) out[n++] = 255 * ((y[at] + y[at + 1] + y[at + 2]) / 3);
      else for (let k = 0; k < 3; k++) out[n++] = 255 * y[at + k];
    }
  }
  return out;
}

/** Output of the last layer. */
function shared(plane) {
  const { prior, point } = plane;
  const outputs = [];
  prior.layers.forEach((layer, i) => {
    if (layer.latent) return (outputs[i] = null);
    const from = outputs[i - 1] ?? (prior.features === "cosine" ? cosineField(plane) : fourierField(plane));
    outputs[i - 1] = from;
    const y = convolved(refold(from, layer.fold), { data: point[`w${i}`], window: layer.window, outputs: point.outputs[i] });
    y.fold = layer.fold;
    activate(y, layer, biases(plane, point[`b${i}`], y));
    if (layer.residual_of !== null) {
      const added = refold(outputs[layer.residual_of], layer.fold).data;
      for (let n = 0; n < added.length; n++) y.data[n] += added[n];
    }
    outputs[i] = y;
  });
  return outputs.at(-1) ?? fourierField(plane);
}

/** Adds biases, one row for all positions or one each, and bends. */
function activate({ data }, { kind, omega }, bias) {
  for (let n = 0, b = 0; n < data.length; n++, b = b + 1 === bias.length ? 0 : b + 1) {
    const y = omega * (data[n] + bias[b]);
    data[n] = kind === "sine" ? Math.sin(y) : kind === "silu" ? y / (1 + Math.exp(-y)) : y;
  }
}

/** Biases of a layer: as they are, or those of classes between the centres of tiles, at every position. */
function biases({ prior, rows, columns, classes }, bias, { height, width, channels, fold }) {
  if (bias.length === channels) return bias;
  const out = new Float64Array(height * width * channels);
  const line = new Float64Array(columns * channels);
  const between = (i, count) => {
    const s = Math.min(Math.max(((i + 0.5) * fold) / prior.tile - 0.5, 0), count - 1);
    return [Math.floor(s), Math.min(Math.floor(s) + 1, count - 1), s - Math.floor(s)];
  };
  for (let r = 0; r < height; r++) {
    const [upper, lower, down] = between(r, rows);
    for (let c = 0, n = 0; c < columns; c++) {
      const a = classes[upper * columns + c] * channels;
      const b = classes[lower * columns + c] * channels;
      for (let o = 0; o < channels; o++, n++) line[n] = bias[a + o] + down * (bias[b + o] - bias[a + o]);
    }
    for (let c = 0, n = r * width * channels; c < width; c++) {
      const [left, right, share] = between(c, columns);
      const a = left * channels;
      const b = right * channels;
      for (let o = 0; o < channels; o++, n++) out[n] = line[a + o] + share * (line[b + o] - line[a + o]);
    }
  }
  return out;
}

/** A map whose positions are squares of `wanted` pixels a side. */
function refold(x, wanted) {
  if (x.fold === wanted) return x;
  if (x.fold > 1 && wanted > 1) return refold(refold(x, 1), wanted);
  const f = x.fold * wanted; // one of them is 1
  const channels = wanted > 1 ? x.channels : x.channels / f ** 2; // of a pixel
  const [height, width] = wanted > 1 ? [x.height / f, x.width / f] : [x.height, x.width]; // positions folded
  const data = new Float64Array(x.data.length);
  const line = f * channels; // pixels side by side in a square are so in both
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      for (let u = 0; u < f; u++) {
        const [folded, flat] = [((r * width + c) * f + u) * line, ((r * f + u) * width + c) * line];
        const [to, from] = wanted > 1 ? [folded, flat] : [flat, folded];
        for (let k = 0; k < line; k++) data[to + k] = x.data[from + k];
      }
    }
  }
  return wanted > 1
    ? { data, height, width, channels: f * line, fold: wanted }
    : { data, height: height * f, width: width * f, channels, fold: 1 };
}

/** A dense layer over a window, edges repeated; weights [row][column][input][output]. */
function convolved(x, { data: weights, window, outputs }) {
  const { height, width, channels } = x;
  const out = { data: new Float64Array(height * width * outputs), height, width, channels: outputs };
  const padded = repeated(x, window >> 1);
  if (window === 3 && width % 4 === 0) return winograd(padded, channels, weights, out);
  const taps = window * channels; // side by side
  const line = (width + window - 1) * channels;
  const packed = fours(weights, window * taps, outputs);
  for (let row = 0; row < height; row++) {
    for (let u = 0; u < window; u++) {
      const sums = { count: width, outputs, y: out.data, to: row * width * outputs };
      multiply(padded, (row + u) * line, channels, taps, packed, 4 * u * taps, 4 * window * taps, sums);
    }
  }
  return out;
}

/**
 * The same over 3 x 3 positions, two rows at a time: of 2 x 2 positions, from the 4 x 4 that they look at, with 16
 * products instead of 36 (Winograd's F(2 x 2, 3 x 3); Lavin and Gray, 2016).
 */
function winograd(padded, channels, weights, out) {
  const { height, width, channels: outputs } = out;
  const count = width / 2; // squares of a row
  const [line, size, own] = [(width + 2) * channels, count * channels, count * outputs];
  const rows = new Float64Array(4 * line); // sums of four rows
  const seen = new Float64Array(16 * size); // and of four columns of those
  const products = new Float64Array(16 * own);
  const pairs = new Float64Array(8 * own); // of rows
  const packed = transformed(weights, channels, outputs);
  for (let row = 0; row < height; row += 2) {
    fourths(padded, row * line, line, line, rows, 0, line);
    for (let n = 0; n < 4 * count; n++) {
      const [a, column] = [(n / count) | 0, n % count];
      fourths(rows, a * line + 2 * column * channels, channels, channels, seen, 4 * a * size + column * channels, size);
    }
    products.fill(0);
    for (let k = 0; k < 16; k++) {
      const sums = { count, outputs, y: products, to: k * own };
      multiply(seen, k * size, channels, channels, packed[k], 0, 4 * channels, sums);
    }
    halves(products, 0, 4 * own, 4 * own, pairs, 0, 4 * own);
    for (let n = 0; n < 2 * count; n++) {
      const [u, column] = [(n / count) | 0, n % count];
      const to = ((row + u) * width + 2 * column) * outputs;
      halves(pairs, 4 * u * own + column * outputs, own, outputs, out.data, to, outputs);
    }
  }
  return out;
}

/** Of four runs of numbers, `step` apart: first - third, second + third, third - second, second - fourth. */
function fourths(x, from, step, count, y, to, gap) {
  for (let i = 0; i < count; i++) {
    const b = x[from + i + step];
    const c = x[from + i + 2 * step];
    y[to + i] = x[from + i] - c;
    y[to + i + gap] = b + c;
    y[to + i + 2 * gap] = c - b;
    y[to + i + 3 * gap] = b - x[from + i + 3 * step];
  }
}

/** Of four such runs: first + second + third, second - third - fourth. */
function halves(x, from, step, count, y, to, gap) {
  for (let i = 0; i < count; i++) {
    const b = x[from + i + step];
    const c = x[from + i + 2 * step];
    y[to + i] = x[from + i] + b + c;
    y[to + i + gap] = b - c - x[from + i + 3 * step];
  }
}

const SPREAD = [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]];
const spread = new WeakMap();

/** 3 x 3 weights as `winograd` takes them: 16 matrices. */
function transformed(weights, channels, outputs) {
  if (spread.has(weights)) return spread.get(weights);
  const size = channels * outputs;
  const matrices = Array.from({ length: 16 }, (_, k) => {
    const matrix = new Float64Array(size);
    for (let t = 0; t < 9; t++) {
      const share = SPREAD[k >> 2][(t / 3) | 0] * SPREAD[k & 3][t % 3];
      for (let i = 0; i < size; i++) matrix[i] += share * weights[t * size + i];
    }
    return fours(matrix, channels, outputs);
  });
  spread.set(weights, matrices);
  return matrices;
}

/** Its data with `r` copies of what is at the edges. */
function repeated({ data, height, width, channels }, r) {
  if (!r) return data;
  const line = (width + 2 * r) * channels;
  const out = new Float64Array((height + 2 * r) * line);
  const within = (i, count) => Math.min(Math.max(i, 0), count - 1);
  for (let i = 0; i < height + 2 * r; i++) {
    for (let j = 0; j < width + 2 * r; j++) {
      const from = (within(i - r, height) * width + within(j - r, width)) * channels;
      for (let c = 0; c < channels; c++) out[i * line + j * channels + c] = data[from + c];
    }
  }
  return out;
}

/** Weights of four outputs side by side, input after input, then those of the next four. */
function fours(weights, inputs, outputs) {
  const out = new Float64Array(inputs * 4 * Math.ceil(outputs / 4));
  for (let i = 0; i < inputs; i++) {
    for (let o = 0; o < outputs; o++) out[((o >> 2) * inputs + i) * 4 + (o & 3)] = weights[i * outputs + o];
  }
  return out;
}

/**
 * Adds to y[n][o] the sums over k < taps of x[n * step + k] * w[k][o], for n < count: two by four of them at once. `w`
 * begins at `at`, with `gap` from four outputs to the next.
 */
function multiply(x, from, step, taps, w, at, gap, { count, outputs, y, to }) {
  for (let o = 0; o < outputs; o += 4, at += gap) {
    const here = Math.min(4, outputs - o);
    for (let n = 0; n < count; n += 2) {
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0; // prettier-ignore
      let i = from + n * step;
      let j = at;
      for (const end = i + taps; i < end; i++, j += 4) {
        const a = x[i], b = x[i + step], w0 = w[j], w1 = w[j + 1], w2 = w[j + 2], w3 = w[j + 3]; // prettier-ignore
        a0 += a * w0;
        a1 += a * w1;
        a2 += a * w2;
        a3 += a * w3;
        b0 += b * w0;
        b1 += b * w1;
        b2 += b * w2;
        b3 += b * w3;
      }
      const p = to + n * outputs + o;
      const q = p + outputs;
      y[p] += a0;
      y[q] += b0;
      if (here > 1) (y[p + 1] += a1), (y[q + 1] += b1);
      if (here > 2) (y[p + 2] += a2), (y[q + 2] += b2);
      if (here > 3) (y[p + 3] += a3), (y[q + 3] += b3);
    }
  }
}

/** Section 7, alpha. */
function sharper(a, sharpness) {
  return Math.min(Math.max(((2 * a - 255) * 2 ** sharpness + 255) >> 1, 0), 255);
}

// The prior for the web, and what a page needs

/** @param {Uint8Array} file */
function readPrior(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  check(file.length > 8 && String.fromCharCode(...file.subarray(0, 4)) === "CMBW", "not a prior for the web (.cmbw)");
  let at = 8 + view.getUint32(4, true);
  const { architecture, points, digest, ...prior } = JSON.parse(new TextDecoder().decode(file.subarray(8, at)));
  Object.assign(prior, architecture, { digest: Uint8Array.from(digest.match(/../g), (pair) => parseInt(pair, 16)) });
  const members = points.map((point) =>
    Object.entries(point).map(([name, [type, ...shape]]) => {
      const size = shape.reduce((a, b) => a * b, 1) * (type === "f2" ? 2 : 1);
      return { name, type, shape, bytes: file.subarray(at, (at += size)) };
    }),
  );
  check(at === file.length, "a prior for the web that is not complete");
  const unpacked = new Map();
  prior.own = members[0].find(({ name }) => name === "mean").shape[0];
  const latents = prior.side ** 2 * prior.own;
  prior.order = prior.mixed ? order(latents) : Uint32Array.from({ length: latents }, (_, i) => i);
  prior.point = (number, grey) => {
    check(number < members.length, `prior ${prior.name} has no operating point ${number}`);
    const key = 2 * number + grey;
    if (!unpacked.has(key)) unpacked.set(key, unpack(members[number], grey && prior.features === "cosine"));
    return unpacked.get(key);
  };
  return prior;
}

/** An operating point; for one channel without the costs of the second and third colour component. */
function unpack(members, first) {
  const point = { merged: new Uint8Array(0), outputs: [] };
  for (const { name, type, shape, bytes } of members) {
    point[name] = type === "f2" ? singles(bytes) : type === "i1" ? new Int8Array(bytes) : bytes;
    if (name[0] === "w") point.outputs[name.slice(1)] = shape.at(-1);
  }
  point.single = point.kl.length / point.mean.length;
  point.count = point.single + point.merged.length / point.mean.length / 4;
  if (first) for (const name of ["kl", "merged"]) point[name] = point[name].map((kl, i) => (i % 3 ? 0 : kl));
  return point;
}

/** Numbers in half precision, all low bytes before all high ones. */
function singles(bytes) {
  const out = new Float64Array(bytes.length / 2);
  for (let i = 0; i < out.length; i++) {
    const high = bytes[out.length + i];
    const exponent = (high >> 2) & 31;
    const fraction = ((high & 3) << 8) | bytes[i];
    const value = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    out[i] = high > 127 ? -value : value;
  }
  return out;
}

/** What an address gives, unpacked if it is gzip. */
async function fetched(url) {
  const answer = await fetch(url);
  check(answer.ok, `${url}: ${answer.status} ${answer.statusText}`);
  return gunzipped(new Uint8Array(await answer.arrayBuffer()));
}

/** Bytes without their gzip, if they have one: of a prior that does not come from an address. */
export async function gunzipped(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Bytes of a data: URL in base64. */
function bytesOf(url) {
  const [, base64] = url.match(/^data:[^,]*;base64,(.*)$/s) ?? [];
  check(base64 !== undefined, "not a data: URL in base64");
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const first = {};
first.loaded = new Promise((resolve) => (first.resolve = resolve));

function painted(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/**
 * <img-cmb src="data:..."> paints itself at the picture's size, or smoothly scaled to the size that CSS gives it. A file
 * that cannot be shown leaves it empty and raises an `error` event.
 */
if (globalThis.customElements) {
  customElements.define(
    "img-cmb",
    class extends HTMLElement {
      static observedAttributes = ["src"];

      async attributeChangedCallback(_, __, src) {
        const combiner = await first.loaded;
        if (src !== this.getAttribute("src")) return; // changed again
        try {
          const canvas = painted(document.createElement("canvas"), combiner.decode(src));
          canvas.style = "display: block; width: 100%; height: 100%";
          this.replaceChildren(canvas);
          this.style.display ||= "inline-block";
          this.dispatchEvent(new Event("load"));
        } catch (error) {
          this.replaceChildren();
          this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
        }
      }
    },
  );
}
