/** How a request's path becomes a route: segments decoded, empty ones skipped, and a trailing slash kept as a segment of its own. */

/** The path that the routes are matched against. Guests whose KMS URL ends in a slash ask for `//prpc/…`. */
export function routePath(url: string): string {
  const segments = new URL(url).pathname.split("/");
  const hasTrailingSlash = segments.length > 2 && segments.at(-1) === "";
  const kept = segments.filter((segment) => segment !== "").map((segment) => encodeURIComponent(decodeSegment(segment)));
  return `/${kept.join("/")}${hasTrailingSlash && kept.length > 0 ? "/" : ""}`;
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
