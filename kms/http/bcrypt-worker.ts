/** One password comparison on a thread of its own: bcrypt takes up to seconds, and the thread that releases keys must not wait. */
import { parentPort, workerData } from "node:worker_threads";
import { compareSync } from "bcryptjs";

const { password, hash }: { readonly password: string; readonly hash: string } = workerData;
parentPort?.postMessage(compareSync(password, hash));
