/** Keys that other releases of the reference knew: mapped where a key of today means the same, otherwise set aside with a note. */
import { at, merge, nested, type Table, without } from "./config-table.ts";

interface LegacyKey {
  readonly key: string;
  readonly movedTo?: string;
  readonly note?: string;
}

/** Settings of the reference's HTTP server, which may stand beside the address of each listener. */
const httpServerKeys = [
  ..."workers max_blocking ident ip_header proxy_proto_header temp_dir keep_alive".split(" "),
  ..."limits shutdown log_level cli_colors secret_key profile".split(" "),
];

const NO_EFFECT = "has no effect, the HTTP server's limits are built in";

const legacyKeys: readonly LegacyKey[] = [
  { key: "core.pccs_url", movedTo: "core.attestation.urls.pccs" },
  { key: "core.amd_kds_base_url", movedTo: "core.attestation.urls.amd_kds" },
  { key: "core.onboard.quote_enabled", note: "has no effect, evidence is always made; see core.attest_rpc_cert" },
  { key: "core.admin_token_hash", note: "has no effect; see core.admin" },
  { key: "core.subject_postfix", note: "has no effect" },
  { key: "default", note: "the table has no effect; listeners are set under rpc and core.onboard" },
  { key: "rpc.tls.ciphers", note: "has no effect, the TLS library's own list is used" },
  { key: "rpc.tls.prefer_server_cipher_order", note: "has no effect" },
  ...["rpc", "core.onboard", "core.admin"].flatMap((table) =>
    httpServerKeys.map((key) => ({ key: `${table}.${key}`, note: NO_EFFECT })),
  ),
];

export function setLegacyAside(file: string, table: Table): { table: Table; reports: string[] } {
  const reports: string[] = [];
  let rest = table;
  for (const { key, movedTo, note } of legacyKeys) {
    const path = key.split(".");
    const value = at(rest, path);
    if (value === undefined) continue;
    rest = without(rest, path);
    if (movedTo === undefined) {
      reports.push(`${file}: ${key} ${note}`);
      continue;
    }
    const target = movedTo.split(".");
    if (at(rest, target) !== undefined) {
      reports.push(`${file}: ${key} is ignored because ${movedTo} is set`);
      continue;
    }
    rest = merge(nested(target, value), rest);
    reports.push(`${file}: ${key} is read as ${movedTo}`);
  }
  return { table: rest, reports };
}
