/**
 * <img-cmb src="data:…"> shows a preview at its size, or scaled to what `width`, `height` or CSS say. It draws inside a shadow
 * root, so frameworks that compare a page's elements find nothing added. It raises `load` and `error` as <img> does.
 */

import { averageColor, size } from "./size.js";

const NEAR = "300px"; // of the viewport, where decoding begins
const MOST = 2 ** 16; // pixels, unless max-pixels says otherwise
const STYLE = `:host { display: inline-block; position: relative; overflow: hidden; }
:host([hidden]) { display: none; }
canvas { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: inherit; object-position: inherit; }`;

// One for all copies of this module that a page loads. `decoder` makes the promise of a function decode(source, options).
const page = (globalThis[Symbol.for("img-cmb")] ??= { decoder: null, broken: false, busy: false, near: new Set(), failed: new Set() });

/**
 * Lets elements decode with a function, unless they have one already that came.
 * @param {Promise|(() => Promise)} decoder promises decode(source, options), at once or when it is first called
 */
export function serve(decoder) {
	if (page.decoder && !page.broken) return;
	let promise = typeof decoder === "function" ? null : decoder;
	const called = () => (promise ??= decoder());
	page.decoder = called;
	page.broken = false;
	promise?.catch(() => {}); // elements tell it
	for (const element of page.failed) page.near.add(element);
	page.failed.clear();
	work();
}

const later = () => new Promise((done) => setTimeout(done)); // lets the page draw and react

/** Decodes what is near the viewport, one picture after another. */
async function work() {
	if (page.busy || !page.decoder) return;
	page.busy = true;
	while (page.near.size) {
		const [element] = page.near;
		page.near.delete(element);
		await show(element);
		await later();
	}
	page.busy = false;
}

async function show(element) {
	const source = element.getAttribute("src"), { decoder } = page;
	if (source === null) return; // taken away while the element waited
	const stale = () => element.getAttribute("src") !== source || !element.isConnected;
	let decode;
	try {
		decode = await decoder();
		if (stale()) return;
		const image = await decode(source, { maxPixels: element.maxPixels });
		if (!stale()) element.paint(image);
	} catch (error) {
		if (!decode) {
			page.broken ||= decoder === page.decoder;
			page.failed.add(element);
		}
		if (!stale()) element.fail(error);
	}
}

const seen = globalThis.IntersectionObserver &&
	new IntersectionObserver((entries) => {
		for (const { target, isIntersecting } of entries) {
			if (!isIntersecting) continue;
			seen.unobserve(target);
			page.near.add(target);
			work();
		}
	}, { rootMargin: NEAR });

class Preview extends (globalThis.HTMLElement ?? Object) {
	static observedAttributes = ["src", "width", "height", "max-pixels", "alt"];

	#sheet = new CSSStyleSheet(); // allowed where a page's policy forbids style elements
	#canvas = null;
	#inside = this.attachInternals();

	constructor() {
		super();
		const common = new CSSStyleSheet();
		common.replaceSync(STYLE);
		this.attachShadow({ mode: "open" }).adoptedStyleSheets = [common, this.#sheet];
		this.#inside.role = "img";
	}

	connectedCallback() {
		for (const name of ["src", "width", "height", "alt", "maxPixels"]) {
			if (!Object.hasOwn(this, name)) continue; // set before the element was defined
			const value = this[name];
			delete this[name];
			this[name] = value;
		}
		this.attributeChangedCallback("src");
	}

	disconnectedCallback() {
		seen.unobserve(this);
		page.near.delete(this);
		page.failed.delete(this);
	}

	attributeChangedCallback(name, before, now) {
		this.#inside.ariaLabel = this.getAttribute("alt");
		this.#inside.ariaHidden = this.getAttribute("alt") ? null : "true";
		this.#measure();
		if (!this.isConnected || (name !== "src" && name !== "max-pixels")) return;
		if (name === "src" && before === now && this.#canvas) return;
		if (!this.hasAttribute("src")) return this.#clear();
		seen.unobserve(this); // so that it tells again
		seen.observe(this);
	}

	/** Room for the picture before it is there: what attributes say, else its own size, and its colour where the URL tells it. */
	#measure() {
		const rules = [], source = this.getAttribute("src") ?? "";
		const given = ["width", "height"].map((name) => parseFloat(this.getAttribute(name)));
		try {
			const { width, height } = size(source);
			const [across, down] = given.map((pixels) => pixels >= 0);
			rules.push(`aspect-ratio: ${width} / ${height}`);
			if (!across && !down) rules.push(`width: ${width}px`);
		} catch {} // the event tells it
		["width", "height"].forEach((name, i) => given[i] >= 0 && rules.push(`${name}: ${given[i]}px`));
		const colour = averageColor(source);
		if (colour) rules.push(`background-color: ${colour}`);
		this.#sheet.replaceSync(`:host { ${rules.join("; ")} }`);
	}

	#clear() {
		this.#canvas?.remove();
		this.#canvas = null;
	}

	/** Shows pixels. */
	paint({ width, height, data }) {
		this.#canvas ??= this.shadowRoot.appendChild(document.createElement("canvas"));
		Object.assign(this.#canvas, { width, height });
		this.#canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
		this.dispatchEvent(new Event("load"));
	}

	/** Shows nothing. */
	fail(error) {
		this.#clear();
		this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
	}
}

/** Properties that stand for attributes; null takes them away. */
function reflect(property, attribute, read) {
	Object.defineProperty(Preview.prototype, property, {
		get() {
			return read(this.getAttribute(attribute));
		},
		set(value) {
			if (value === null || value === undefined) this.removeAttribute(attribute);
			else this.setAttribute(attribute, value);
		},
		configurable: true,
		enumerable: true,
	});
}

if (globalThis.customElements && !customElements.get("img-cmb")) {
	reflect("src", "src", (text) => text ?? "");
	reflect("alt", "alt", (text) => text ?? "");
	reflect("width", "width", (text) => parseFloat(text) || 0);
	reflect("height", "height", (text) => parseFloat(text) || 0);
	reflect("maxPixels", "max-pixels", (text) => (text === null ? MOST : +text));
	customElements.define("img-cmb", Preview);
}
