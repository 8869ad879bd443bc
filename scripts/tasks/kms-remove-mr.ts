/** Takes a KMS measurement off the list. */
import { kmsListAction, kmsMeasurements } from "../lib/allow-list.ts";

export default kmsListAction({ task: "kms remove-mr", list: kmsMeasurements, allow: false });
