import { renderToString } from "react-dom/server";
import { Gallery } from "./gallery.jsx";

export const render = () => renderToString(<Gallery />);
