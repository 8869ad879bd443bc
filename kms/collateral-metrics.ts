/** What GET /metrics says of collateral: how old it is, how long it lasts, and what could not be refreshed. */
import type { ItemKind } from "./attestation/tdx/collateral-items.ts";
import type { CollateralStatus, CollateralStore } from "./attestation/tdx/collateral-store.ts";

type Watched = Pick<CollateralStore, "status" | "failures">;

/** Of each kind the part that is worst off; a kind of which nothing is kept has no gauge. */
export function collateralMetrics(store: Watched, now: () => Date): string {
  const at = Math.floor(now().getTime() / 1000);
  const age = (parts: readonly CollateralStatus[]) =>
    Math.max(...parts.flatMap(({ rank }) => (rank === undefined ? [] : [at - rank.issued])));
  const left = (parts: readonly CollateralStatus[]) => Math.min(...parts.map(({ lastSecond }) => lastSecond - at));
  const byKind = Map.groupBy(store.status(), ({ kind }) => kind);
  const dated = [...byKind].filter(([kind]) => kind !== "pck-chain");
  return (
    family("keyward_kms_collateral_age_seconds", "gauge", "Since the oldest part of a kind was issued.", dated, age) +
    family("keyward_kms_collateral_ends_seconds", "gauge", "Until the first part of a kind ends.", [...byKind], left) +
    family(
      "keyward_kms_collateral_refresh_failures_total",
      "counter",
      "Answers that were missing or not good enough.",
      [...store.failures()],
      (count) => count,
    )
  );
}

function family<T>(
  name: string,
  type: "gauge" | "counter",
  help: string,
  values: readonly (readonly [ItemKind, T])[],
  of: (value: T) => number,
): string {
  const lines = values.map(([kind, value]) => `${name}{kind="${kind}"} ${of(value)}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}
