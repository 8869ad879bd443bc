/** Allows a KMS measurement to hold the root keys. */
import { kmsListAction, kmsMeasurements } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms add-mr", list: kmsMeasurements, allow: true });
