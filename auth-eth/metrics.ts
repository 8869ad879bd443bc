/** What a monitoring system reads: counters and durations in a registry of our own, every label from a closed set. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { BootKind, DecisionCode } from "./api.ts";
import type { RpcSample } from "./chain-rpc.ts";

/** Around the deadline of five seconds, and fine where a healthy chain answers. */
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface Metrics {
  readonly contentType: string;
  decision(route: BootKind, code: DecisionCode, seconds: number): void;
  rpc(sample: RpcSample): void;
  /** An endpoint told another story about the block that was decided from. */
  dissent(endpoint: string): void;
  /** The time of the block that was just decided from, in seconds of the epoch. */
  head(timestamp: number): void;
  running(requests: number): void;
  overloaded(route: BootKind | "info"): void;
  text(): Promise<string>;
}

export function createMetrics(now: () => number = Date.now): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const name = (suffix: string): string => `auth_eth_${suffix}`;
  const decisionSeconds = new Histogram({
    name: name("decision_seconds"),
    help: "Answers to boot requests and the time they took, by route and code",
    labelNames: ["route", "code"],
    buckets: secondsBuckets,
    registers,
  });
  const rpcSeconds = new Histogram({
    name: name("rpc_seconds"),
    help: "Time of a round trip to the chain, by endpoint and outcome",
    labelNames: ["endpoint", "outcome"],
    buckets: secondsBuckets,
    registers,
  });
  const dissents = new Counter({
    name: name("rpc_dissent_total"),
    help: "Answers that contradict the quorum, by endpoint",
    labelNames: ["endpoint"],
    registers,
  });
  let headTimestamp = Number.NaN;
  new Gauge({
    name: name("head_age_seconds"),
    help: "Age now of the last block that was decided from; NaN before the first",
    registers,
    collect() {
      this.set(now() / 1000 - headTimestamp);
    },
  });
  const running = new Gauge({ name: name("running_requests"), help: "Requests that hold a place", registers });
  const overloads = new Counter({
    name: name("overload_refusals_total"),
    help: "Requests refused because all places were taken, by route",
    labelNames: ["route"],
    registers,
  });
  return {
    contentType: registry.contentType,
    decision: (route, code, seconds) => decisionSeconds.observe({ route, code }, seconds),
    rpc: ({ endpoint, outcome, seconds }) => rpcSeconds.observe({ endpoint, outcome }, seconds),
    dissent: (endpoint) => dissents.inc({ endpoint }),
    head(timestamp) {
      headTimestamp = timestamp;
    },
    running: (requests) => running.set(requests),
    overloaded: (route) => overloads.inc({ route }),
    text: () => registry.metrics(),
  };
}
