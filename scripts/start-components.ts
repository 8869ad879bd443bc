/** The components of the local stack: starts them, notices when one ends by itself, and stops them all. */
import { join } from "node:path";
import { KmsError } from "../kms/errors.ts";
import { type Child, type ChildFolders, type ChildSpec, spawnChild, withDeadline } from "./start-child.ts";

/** A line of a component's log, as far as it is a JSON object. */
export type Line = Readonly<Record<string, unknown>>;

export interface Component {
  readonly name: string;
  readonly pid: number;
  /** The next line that says `listening` and has this `mode`, where a mode is asked for. */
  readonly listening: (mode?: string) => Promise<Line>;
}

export interface Ended {
  readonly isSuccess: boolean;
  /** Exit code or signal, and its last words. */
  readonly how: string;
  readonly output: string;
}

const readyTimeoutMs = 60_000;
const runTimeoutMs = 120_000;
const killAfterMs = 5_000;
/** Ends a component when we are gone, even by SIGKILL. */
const preload = ["--import", join(import.meta.dirname, "devnet", "parent-watch.ts")];

export class Components {
  readonly #folders: ChildFolders;
  readonly #running = new Set<Child>();
  readonly #failure = Promise.withResolvers<never>();
  #isStopping = false;

  constructor(folders: ChildFolders) {
    this.#folders = folders;
    this.#failure.promise.catch(() => {}); // whoever races against it sees it
  }

  /** Rejects when a component ends without being asked to. */
  get failure(): Promise<never> {
    return this.#failure.promise;
  }

  start(spec: ChildSpec): Component {
    const lines = new ListeningLines();
    const child = this.#spawn(spec, (line) => lines.add(line));
    const gone = child.end.then((how) => {
      const error = new KmsError("unavailable.component", `${spec.name} ended unexpectedly (${how})${child.lastWords()}`);
      if (!this.#isStopping) this.#failure.reject(error);
      throw error;
    });
    gone.catch(() => {});
    return {
      name: spec.name,
      pid: child.process.pid ?? 0,
      listening: (mode) => withDeadline(readyTimeoutMs, `${spec.name} is not ready`, Promise.race([gone, lines.next(mode)])),
    };
  }

  /** A command that ends by itself. */
  async run(spec: ChildSpec): Promise<Ended> {
    const lines: string[] = [];
    const child = this.#spawn(spec, (line) => lines.push(line));
    const how = await withDeadline(runTimeoutMs, `${spec.name} does not end`, child.end);
    return { isSuccess: how === "exit code 0", how: `${how}${child.lastWords()}`, output: lines.join("\n") };
  }

  /** SIGTERM to all, SIGKILL to those that stay. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const children = [...this.#running];
    for (const child of children) child.process.kill("SIGTERM");
    const force = setTimeout(() => {
      for (const child of children) child.process.kill("SIGKILL");
    }, killAfterMs);
    await Promise.all(children.map((child) => child.end));
    clearTimeout(force);
  }

  #spawn(spec: ChildSpec, onLine: (line: string) => void): Child {
    if (this.#isStopping) throw new KmsError("unavailable.component", `${spec.name}: not started, the stack is stopping`);
    const child = spawnChild({ ...spec, args: [...preload, ...spec.args] }, this.#folders, onLine);
    this.#running.add(child);
    void child.end.then(() => this.#running.delete(child));
    return child;
  }
}

/** Remembers the `listening` lines of one component until somebody asks for them. */
class ListeningLines {
  readonly #seen: Line[] = [];
  #waiting: { readonly mode: string | undefined; readonly resolve: (line: Line) => void } | undefined;

  add(text: string): void {
    const line = parseLine(text);
    if (line?.["msg"] !== "listening") return;
    this.#seen.push(line);
    this.#settle();
  }

  next(mode: string | undefined): Promise<Line> {
    return new Promise((resolve) => {
      this.#waiting = { mode, resolve };
      this.#settle();
    });
  }

  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const index = this.#seen.findIndex((line) => waiting.mode === undefined || line["mode"] === waiting.mode);
    const [line] = index < 0 ? [] : this.#seen.splice(index, 1);
    if (line !== undefined) waiting.resolve(line);
  }
}

function parseLine(text: string): Line | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Object.fromEntries(Object.entries(value ?? {}));
  } catch {
    return undefined;
  }
}
