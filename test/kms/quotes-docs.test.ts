/** docs/quotes.md: its codes and limits are those of the code. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MAX_CRL_BYTES } from "../../kms/attestation/tdx/crl.ts";
import { MAX_CHAIN_CERTIFICATES } from "../../kms/attestation/tdx/pem.ts";
import { MAX_QUOTE_BYTES } from "../../kms/attestation/tdx/quote.ts";
import { MAX_SIGNED_JSON_CHARACTERS } from "../../kms/attestation/tdx/signed-json.ts";
import { MAX_CERTIFICATE_BYTES } from "../../kms/attestation/tdx/x509.ts";
import { codes } from "../../kms/errors.ts";

const page = readFileSync(new URL("../../docs/quotes.md", import.meta.url), "utf8");
const verification = readFileSync(new URL("../../kms/attestation/tdx/verify.ts", import.meta.url), "utf8");

test("names codes that there are, and all that the verification throws itself", () => {
  const named = [...page.matchAll(/`((?:malformed|unproven)\.[a-z0-9-]+)`/g)].map(([, code = ""]) => code);
  const thrown = [...verification.matchAll(/refuse\("([a-z0-9.-]+)"/g)].map(([, code = ""]) => code);
  expect(named.filter((code) => !Object.hasOwn(codes, code))).toEqual([]);
  expect(thrown.length).toBeGreaterThan(10);
  expect(thrown.filter((code) => !named.includes(code))).toEqual([]);
});

test("gives the limits", () => {
  expect(page).toContain(`${MAX_QUOTE_BYTES / 1024} KiB for a quote`);
  expect(page).toContain(`${MAX_CHAIN_CERTIFICATES} certificates in a chain`);
  expect(page).toContain(`${MAX_CERTIFICATE_BYTES / 1024} KiB for a certificate`);
  expect(page).toContain(`${MAX_CRL_BYTES / 1024 / 1024} MiB for a revocation list`);
  expect(page).toContain(`${MAX_SIGNED_JSON_CHARACTERS.toLocaleString("en")} characters`);
});
