import "combiner-preview/element"; // on the server it does nothing
import previews from "./previews.jsonl?raw";

const pictures = previews.trim().split("\n").map((line) => JSON.parse(line));

export function Gallery() {
	return pictures.map(({ file, cmb }) => (
		<figure key={file}>
			<img-cmb src={cmb} />
			<img src={file} alt="" loading="lazy" />
		</figure>
	));
}
