/** Preloaded (`node --import`) into components that serve in production too: ends them when the stack that started them is gone. */
import { Socket } from "node:net";

const forceAfterMs = 3_000;

// stdin is a pipe from the parent; it closes even when the parent is killed outright
process.stdin
  .once("end", () => {
    setTimeout(() => process.exit(1), forceAfterMs).unref();
    process.kill(process.pid, "SIGTERM");
  })
  .on("error", () => process.exit(1))
  .resume();
if (process.stdin instanceof Socket) process.stdin.unref(); // it keeps no command alive that is done
