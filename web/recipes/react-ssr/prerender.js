// A static site's last step. A server does the same for each request.
import { readFileSync, writeFileSync } from "node:fs";
import { render } from "./build/server.js";

const page = readFileSync("dist/index.html", "utf8");
writeFileSync("dist/index.html", page.replace("<!--gallery-->", render));
