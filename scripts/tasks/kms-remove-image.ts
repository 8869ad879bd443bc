/** Takes an OS image off the list. */
import { kmsListAction, osImages } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms remove-image", list: osImages, allow: false });
