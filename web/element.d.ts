/** <img-cmb>: defined when this module is loaded. */
export interface ImgCmb extends HTMLElement {
	/** A data: URL of a .cmb file; null shows nothing. */
	src: string | null;
	alt: string;
	width: number;
	height: number;
	/** Larger pictures are refused: 65,536. */
	maxPixels: number;
}

declare global {
	interface HTMLElementTagNameMap {
		"img-cmb": ImgCmb;
	}
}
