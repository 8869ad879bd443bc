/** Allows an OS image for apps and KMS nodes. */
import { kmsListAction, osImages } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms add-image", list: osImages, allow: true });
