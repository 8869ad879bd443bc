/** Allows a device to run a KMS. */
import { kmsDevices, kmsListAction } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms add-device", list: kmsDevices, allow: true });
