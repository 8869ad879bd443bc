/** Finds and reads the layers of the configuration: which files, in which order, and what their text decodes to. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parse as parseToml, TomlError } from "smol-toml";
import { isTable, type Table } from "./config-table.ts";
import { KmsError } from "./errors.ts";

const MAX_FILE_BYTES = 1024 * 1024;

export interface Layer {
  readonly file: string;
  readonly table: Table;
}

export interface Places {
  /** The file given with `-c`; it must exist. */
  readonly explicit: string | undefined;
  readonly cwd: string;
  readonly systemDir: string;
}

/** Lowest layer first; a later one wins key by key. */
export function loadLayers(places: Places): Layer[] {
  const found = ["kms.toml", "kms.json"].flatMap((name) => [join(places.systemDir, name)]);
  found.push(...["kms.toml", "kms.json"].map((name) => join(places.cwd, name)));
  const files = found.filter((file) => existsSync(file));
  if (places.explicit !== undefined) files.push(findExplicit(places.explicit, places.cwd));
  return [...new Set(files)].map((file) => ({ file, table: readTable(file) }));
}

/** A relative name is looked for in the working directory, then in its parents. */
function findExplicit(name: string, cwd: string): string {
  if (isAbsolute(name)) {
    if (existsSync(name)) return name;
    throw new KmsError("malformed.config", `config file does not exist: ${name}`);
  }
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const file = join(folder, name);
    if (existsSync(file)) return file;
    if (folder === dirname(folder)) break;
  }
  throw new KmsError("malformed.config", `config file does not exist: ${name}, looked in ${resolve(cwd)} and its parents`);
}

function readTable(file: string): Table {
  const text = readText(file);
  const table = decode(file, text);
  if (!isTable(table)) throw new KmsError("malformed.config", `${file}: need a table of keys`);
  return table;
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > MAX_FILE_BYTES) throw new KmsError("malformed.config", `${file}: ${size} bytes, at most ${MAX_FILE_BYTES}`);
    return readFileSync(file, "utf8");
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.config", `${file}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function decode(file: string, text: string): unknown {
  const isToml = file.endsWith(".toml");
  try {
    return isToml ? parseToml(text) : JSON.parse(text);
  } catch (thrown) {
    // no cause: both parsers quote the text around the error, which may be the admin token, and causes are logged
    throw new KmsError("malformed.config", `${file}: not valid ${isToml ? "TOML" : "JSON"}${placeOf(thrown)}`);
  }
}

function placeOf(thrown: unknown): string {
  const message = messageOf(thrown);
  if (thrown instanceof TomlError) {
    return `, line ${thrown.line}, column ${thrown.column}: ${message.replace(/^Invalid TOML document: /, "")}`;
  }
  const place = /\(line (\d+) column (\d+)\)$/.exec(message);
  return place === null ? "" : `, line ${place[1]}, column ${place[2]}`;
}

function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.split("\n", 1)[0] ?? "";
}
