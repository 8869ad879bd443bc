/** How a request's path becomes a route: segments decoded, empty ones skipped, and a trailing slash kept as a segment of its own. */

/** Of an absolute URL with nothing to decode, skip or resolve: what nearly every caller sends. */
const PLAIN_PATH = /^https?:\/\/[^/?#]+((?:\/[A-Za-z][A-Za-z0-9._-]*)+)(?:[?#]|$)/;

/** The path that the routes are matched against. Guests whose KMS URL ends in a slash ask for `//prpc/…`. */
export function routePath(url: string): string {
  const plain = PLAIN_PATH.exec(url)?.[1];
  if (plain !== undefined) return plain;
  const segments = new URL(url).pathname.split("/");
  const hasTrailingSlash = segments.length > 2 && segments.at(-1) === "";
  const kept = segments.filter((segment) => segment !== "").map((segment) => encodeURIComponent(decodeSegment(segment)));
  return `/${kept.join("/")}${hasTrailingSlash && kept.length > 0 ? "/" : ""}`;
}

/** The arguments in a request target. */
export function queryOf(target: string): URLSearchParams {
  const [beforeFragment = ""] = target.split("#", 1);
  const start = beforeFragment.indexOf("?");
  return new URLSearchParams(start === -1 ? "" : beforeFragment.slice(start + 1));
}

/** The method's own name: the service prefix goes as often as it stands in front. */
export function methodName(segment: string, prefix: string): string {
  let start = 0;
  while (segment.startsWith(prefix, start)) start += prefix.length;
  return segment.slice(start);
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // not percent-encoding: the text stands for itself, and no route has it
  }
}
