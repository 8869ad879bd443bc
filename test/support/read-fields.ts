/** Remembers which values of a document a test has looked at, so that one that nobody looked at fails. */

export interface Watched<T> {
  readonly value: T;
  /** Paths of the values that were not read. */
  unread(): string[];
}

export function watch<T extends object>(document: T): Watched<T> {
  const read = new Set<string>();
  const view = (target: object, path: string): object =>
    new Proxy(target, {
      get(object, name, receiver) {
        const inner: unknown = Reflect.get(object, name, receiver);
        if (typeof name === "symbol" || typeof inner === "function") return inner;
        const at = path === "" ? name : `${path}.${name}`;
        if (typeof inner === "object" && inner !== null) return view(inner, at);
        read.add(at);
        return inner;
      },
    });
  return {
    value: view(document, "") as T,
    unread: () => leaves(document, "").filter((path) => !read.has(path)),
  };
}

function leaves(value: unknown, path: string): string[] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
}
