import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { ImgCmb } from "./element.js";

/** <img-cmb> in React's JSX. React adds listeners to elements that it makes, not to those that it hydrates. */
export interface ImgCmbProps extends HTMLAttributes<ImgCmb> {
	src?: string | null;
	alt?: string;
	width?: number | string;
	height?: number | string;
	/** Larger pictures are refused: 65,536. */
	"max-pixels"?: number | string;
	onload?: (event: Event) => void;
	onerror?: (event: ErrorEvent) => void;
}

declare module "react" {
	namespace JSX {
		interface IntrinsicElements {
			"img-cmb": DetailedHTMLProps<ImgCmbProps, ImgCmb>;
		}
	}
}
