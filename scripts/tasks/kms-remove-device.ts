/** Takes a device off the list. */
import { kmsDevices, kmsListAction } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms remove-device", list: kmsDevices, allow: false });
