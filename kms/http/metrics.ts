/** The two counters of GET /metrics: requests that need an attested caller, and those of them that were refused. */

const COUNTED = new Set(["GetAppKey", "GetKmsKey", "SignCert"]);

export interface Metrics {
  count(method: string, status: number): void;
  text(): string;
}

export function createMetrics(): Metrics {
  let requests = 0;
  let failures = 0;
  return {
    count(method, status) {
      if (!COUNTED.has(method)) return;
      requests += 1;
      if (status >= 400) failures += 1;
    },
    text: () =>
      counter("dstack_kms_attestation_requests_total", "Requests that need an attested caller.", requests) +
      counter("dstack_kms_attestation_failures_total", "Requests that need an attested caller and were refused.", failures),
  };
}

function counter(name: string, help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} counter\n${name} ${value}\n`;
}
