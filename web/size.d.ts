/** Bytes of a .cmb file, or its data: URL. */
export type Source = Uint8Array | ArrayBuffer | string;

/** Width and height in pixels, without the prior. Throws a FormatError where the source is no .cmb file. */
export function size(source: Source): { width: number; height: number };

/** "#rrggbb", where `combiner preview --json` wrote it into the URL; else null. Without the prior. */
export function averageColor(url: string): string | null;
