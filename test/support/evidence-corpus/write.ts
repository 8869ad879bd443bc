/** Writes the corpus anew: `node test/support/evidence-corpus/write.ts`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { corpusFolder } from "./format.ts";
import { generateCorpus, manifestText } from "./generate.ts";

const { manifest, files } = generateCorpus();
mkdirSync(corpusFolder, { recursive: true });
for (const [name, bytes] of Object.entries(files)) writeFileSync(new URL(name, corpusFolder), bytes);
writeFileSync(new URL("manifest.json", corpusFolder), manifestText(manifest));
console.log(`${manifest.cases.length} cases over ${Object.keys(manifest.bases).length} bases`);
