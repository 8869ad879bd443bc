/** The OpenAPI document as one plain page: nothing is fetched, nothing runs, and every text of it is escaped. */
import { createHash } from "node:crypto";
import type { MediaType, OpenApiDocument, Operation } from "./openapi.ts";

const style = `body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
pre{overflow:auto;padding:.75rem;border:1px solid #8886}table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}`;

export const pageHeaders = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": [
    "default-src 'none'",
    `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
};

export function renderPage(document: OpenApiDocument): string {
  const { info, paths, components } = document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => renderOperation(`${method.toUpperCase()} ${path}`, operation)),
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<h3 id="${escaped(name)}">${escaped(name)}</h3>${listing(schema)}`,
  );
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<title>${escaped(info.title)}</title><style>${style}</style></head><body>`,
    `<h1>${escaped(info.title)}</h1><p>${prose(info.description)}</p><p><a href="/openapi.json">OpenAPI ${escaped(document.openapi)}</a></p>`,
    ...operations,
    "<h2>Schemas</h2>",
    ...schemas,
    "</body></html>",
  ].join("\n");
}

function renderOperation(name: string, operation: Operation): string {
  const { operationId, summary, description = "", requestBody, responses } = operation;
  const rows = Object.entries(responses).map(([status, { description: meaning, content }]) => {
    const media = Object.entries(content).map(([type, value]) => renderMedia(type, value));
    return `<tr><th>${escaped(status)}</th><td>${prose(meaning)}${media.join("")}</td></tr>`;
  });
  const body = Object.entries(requestBody?.content ?? {}).map(([type, value]) => renderMedia(type, value));
  return [
    `<h2 id="${escaped(operationId)}">${escaped(name)}</h2><p>${prose(summary)} <code>${escaped(operationId)}</code></p>`,
    description && `<p>${prose(description)}</p>`,
    body.length > 0 && `<h3>Request</h3>${body.join("")}`,
    `<h3>Answers</h3><table>${rows.join("")}</table>`,
  ]
    .filter(Boolean)
    .join("\n");
}

function renderMedia(type: string, { schema, examples = {} }: MediaType): string {
  const name = "$ref" in schema ? String(schema.$ref).split("/").at(-1) : undefined;
  const link = name === undefined ? "" : ` <a href="#${escaped(name)}">${escaped(name)}</a>`;
  const listings = Object.entries(examples).map(
    ([title, { value }]) => `<details><summary>${escaped(title)}</summary>${listing(value)}</details>`,
  );
  return `<p><code>${escaped(type)}</code>${link}</p>${listings.join("")}`;
}

const listing = (value: unknown): string => `<pre>${escaped(JSON.stringify(value, undefined, 2))}</pre>`;

/** Escaped first: what stands between backquotes cannot bring marks of its own. */
const prose = (text: string): string => escaped(text).replace(/`([^`]*)`/g, "<code>$1</code>");

function escaped(text: string): string {
  const marks: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (mark) => marks[mark] ?? "");
}
