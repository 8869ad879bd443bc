/** The counters of GET /metrics: requests that need an attested caller, those of them that were refused, and failed handshakes. */

const COUNTED = new Set(["GetAppKey", "GetKmsKey", "SignCert"]);

export interface Metrics {
  count(method: string, status: number): void;
  /** A connection that never became a request: no TLS, a foreign client certificate, more evidence than a handshake may carry. */
  countHandshakeFailure(): void;
  text(): string;
}

export interface MetricsSources {
  /** OS image archives that were asked for, and those that could not be had. */
  readonly downloads?: () => { readonly downloads: number; readonly failures: number };
  /** Whole lines of it. */
  readonly collateral?: () => string;
}

export function createMetrics({ downloads, collateral }: MetricsSources = {}): Metrics {
  let requests = 0;
  let failures = 0;
  let handshakes = 0;
  return {
    count(method, status) {
      if (!COUNTED.has(method)) return;
      requests += 1;
      if (status >= 400) failures += 1;
    },
    countHandshakeFailure() {
      handshakes += 1;
    },
    text: () =>
      counter("dstack_kms_attestation_requests_total", "Requests that need an attested caller.", requests) +
      counter("dstack_kms_attestation_failures_total", "Requests that need an attested caller and were refused.", failures) +
      counter("keyward_kms_handshake_failures_total", "Connections that ended in the TLS handshake.", handshakes) +
      (downloads === undefined ? "" : downloadsText(downloads())) +
      (collateral?.() ?? ""),
  };
}

function downloadsText({ downloads, failures }: { readonly downloads: number; readonly failures: number }): string {
  return (
    counter("keyward_kms_image_downloads_total", "OS image archives that were asked for.", downloads) +
    counter("keyward_kms_image_download_failures_total", "OS image archives that could not be had or used.", failures)
  );
}

function counter(name: string, help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} counter\n${name} ${value}\n`;
}
