import "combiner-preview/element";
import previews from "./previews.jsonl?raw";

for (const line of previews.trim().split("\n")) {
	const { file, cmb } = JSON.parse(line);
	const preview = document.createElement("img-cmb");
	preview.src = cmb;
	const photograph = new Image();
	photograph.alt = "";
	photograph.loading = "lazy";
	photograph.src = file;
	const figure = document.createElement("figure");
	figure.append(preview, photograph);
	document.querySelector("main").append(figure);
}
