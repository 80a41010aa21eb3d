/** Unpacks raw deflate (RFC 1951) of the prior that comes with the module: what it reads is known to be sound. */

const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** @type {(bytes: Uint8Array, size: number) => Uint8Array} */
export function inflate(bytes, size) {
	const out = new Uint8Array(size);
	let at = 0, to = 0;
	const take = (count) => {
		let value = 0;
		for (let i = 0; i < count; i++, at++) value |= ((bytes[at >> 3] >> (at & 7)) & 1) << i;
		return value;
	};
	/** The next symbol of a code, whose words of each length follow each other. */
	const symbol = ({ counts, symbols }) => {
		let word = 0, first = 0, before = 0;
		for (let length = 1; ; length++) {
			word = word * 2 + take(1);
			if (word - first < counts[length]) return symbols[before + word - first];
			before += counts[length];
			first = (first + counts[length]) * 2;
		}
	};
	/** A copy's length or distance: 2 ** ways numbers of each count of further bits. */
	const extended = (code, ways, least) => {
		const more = Math.max(0, (code >> ways) - 1);
		return least + (more ? (((1 << ways) | (code & ((1 << ways) - 1))) << more) + take(more) : code);
	};
	for (let last = 0; !last; ) {
		last = take(1);
		const kind = take(2);
		if (!kind) {
			at = (at + 7) & ~7;
			const count = take(16);
			at += 16;
			for (let i = 0; i < count; i++) out[to++] = take(8);
			continue;
		}
		const [literals, distances] = kind === 1 ? fixed() : described(take, symbol);
		for (let code; (code = symbol(literals)) !== 256; ) {
			if (code < 256) out[to++] = code;
			else {
				const length = code === 285 ? 258 : extended(code - 257, 2, 3);
				const back = extended(symbol(distances), 1, 1);
				for (let i = 0; i < length; i++, to++) out[to] = out[to - back];
			}
		}
	}
	return out;
}

function codeOf(lengths) {
	const counts = Array(16).fill(0);
	for (const length of lengths) if (length) counts[length]++;
	const symbols = [...lengths.keys()].filter((i) => lengths[i]).sort((i, j) => lengths[i] - lengths[j] || i - j);
	return { counts, symbols };
}

function fixed() {
	const lengths = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
	return [codeOf(lengths), codeOf(Array(30).fill(5))];
}

/** The two codes of a block that describes them. */
function described(take, symbol) {
	const literals = 257 + take(5), distances = 1 + take(5), given = 4 + take(4);
	const few = Array(19).fill(0);
	for (let i = 0; i < given; i++) few[ORDER[i]] = take(3);
	const code = codeOf(few), lengths = [];
	while (lengths.length < literals + distances) {
		const next = symbol(code);
		if (next < 16) lengths.push(next);
		else {
			const value = next === 16 ? lengths.at(-1) : 0;
			const count = next === 16 ? 3 + take(2) : next === 17 ? 3 + take(3) : 11 + take(7);
			for (let i = 0; i < count; i++) lengths.push(value);
		}
	}
	return [codeOf(lengths.slice(0, literals)), codeOf(lengths.slice(literals))];
}
