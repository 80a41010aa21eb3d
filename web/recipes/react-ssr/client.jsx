import { hydrateRoot } from "react-dom/client";
import { Gallery } from "./gallery.jsx";

hydrateRoot(document.querySelector("main"), <Gallery />);
