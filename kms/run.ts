/** The states of a KMS process: without keys it onboards; with keys it renews its certificates and serves. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { type AdminService, loadServerTls, prepareAdminService } from "./admin-service.ts";
import { SELF_BOOT_RENEWAL_MS } from "./authorization/self-boot.ts";
import { collateralMetrics } from "./collateral-metrics.ts";
import { keepCollateralFresh } from "./collateral-refresh.ts";
import type { TlsFiles } from "./config.ts";
import { KmsError } from "./errors.ts";
import { type Listener, listen } from "./http/listeners.ts";
import { createMetrics, type MetricsSources } from "./http/metrics.ts";
import { createOnboardApp } from "./http/onboard-app.ts";
import { createServiceApp } from "./http/service-app.ts";
import { inspectKeyStore, loadKeySet, recoverKeyStore, type StoredKeySet } from "./keys/store.ts";
import { tlsServerOptions } from "./ra-tls/server.ts";
import { createBootstrap } from "./replication/bootstrap.ts";
import { oneAtATime } from "./replication/one-at-a-time.ts";
import { reissueCertificates } from "./replication/reissue.ts";
import { adminRpcs, onboardRpcs, serviceRpcs } from "./rpcs.ts";
import type { Services } from "./services.ts";

export interface Run {
  readonly services: Services;
  readonly log: Logger;
  readonly version: string;
  readonly revision: string;
  /** Told of the listener that serves now, so that a signal can end it. */
  readonly serving: (listener: Listener) => void;
}

/** Returns when the main listener serves, and the admin's where there is one. */
export async function startKms(run: Run): Promise<void> {
  const { settings } = run.services;
  const admin = await prepareAdminService(settings.admin);
  keepCollateralFresh({ ...run.services, log: run.log });
  await recoverKeys(run);
  if (settings.onboard.enabled && (await inspectKeyStore(settings.certDir)) === "empty") {
    await getKeys(run);
    if ((await inspectKeyStore(settings.certDir)) === "empty") throw new KmsError("fault.start", "Failed to onboard");
  }
  const keys = await loadKeys(run);
  const main = await serveMain(run, keys);
  if (admin !== undefined) await serveAdmin(run, admin, main);
}

async function recoverKeys({ services, log }: Run): Promise<void> {
  const { certDir } = services.settings;
  const recovery = await recoverKeyStore(certDir, services.disk);
  if (recovery === "completed") log.warn({ certDir }, "an interrupted start of this KMS is completed: its keys were sealed");
  if (recovery === "discarded") log.warn({ certDir }, "an interrupted start of this KMS is undone: its keys were never in use");
}

async function getKeys(run: Run): Promise<void> {
  const { services, log } = run;
  const { autoBootstrapDomain } = services.settings.onboard;
  if (autoBootstrapDomain === "") return serveOnboard(run);
  const warn = (message: string) => log.warn(message);
  await createBootstrap({ ...services, ...services.settings, alone: oneAtATime(), warn }).auto(autoBootstrapDomain);
  log.info({ domain: autoBootstrapDomain }, "bootstrapped");
}

/** Plain HTTP until the operator finishes; the main listener may then take the same port. */
async function serveOnboard({ services, log, serving }: Run): Promise<void> {
  const { address, port, tls: files } = services.settings.onboard;
  const tls = await loadServerTls(files, "core.onboard.tls");
  const finished = Promise.withResolvers<void>();
  const alone = oneAtATime();
  const app = createOnboardApp({ rpcs: onboardRpcs(services, log, alone), onFinish: finished.resolve, log });
  const listener = await listen(app, { hostname: address, port, log, ...(tls === undefined ? {} : { tls }) });
  serving(listener);
  log.info({ url: listener.url, mode: "onboard" }, "listening");
  await finished.promise;
  await alone(async () => undefined); // keys that are being made are stored and answered first
  await listener.close();
}

async function loadKeys({ services, log }: Run): Promise<StoredKeySet> {
  const { certDir, onboard, attestRpcCert } = services.settings;
  const { autoBootstrapDomain: domain } = onboard;
  const stored = await loadKeySet(certDir, domain === "" ? {} : { domain });
  for (const warning of stored.warnings) log.warn({ certDir }, warning);
  try {
    return await reissueCertificates({ ...services, ...services.settings }, stored);
  } catch (thrown) {
    // with evidence required, an old certificate would promise what this start could not prove
    if (attestRpcCert) throw thrown;
    log.warn({ err: thrown }, "certificates not renewed, the stored ones are used");
    return stored;
  }
}

async function serveMain({ services, log, version, revision, serving }: Run, keys: StoredKeySet): Promise<Listener> {
  const { rpc } = services.settings;
  const metrics = services.settings.metrics ? createMetrics(metricsSources(services)) : undefined;
  const app = createServiceApp({
    prefix: "KMS.",
    rpcs: serviceRpcs(services, keys, log),
    authenticate: services.authenticate,
    version: `v${version} (git:${revision})`,
    log,
    metrics,
  });
  const files = await readTlsFiles(rpc.tls);
  if (files.certPem !== keys.rpcCertPem || files.tempCaPem !== keys.tempCaCertPem) {
    log.warn(rpc.tls, "rpc.tls names other certificates than those in core.cert_dir: keep them in step");
  }
  const tls = { ...tlsServerOptions(files), rejectUnauthorized: rpc.tls.clientCertificateMandatory };
  const onHandshakeFailure = () => metrics?.countHandshakeFailure();
  const listener = await listen(app, { hostname: rpc.address, port: rpc.port, tls, log, onHandshakeFailure });
  serving(listener);
  log.info({ url: listener.url, mode: "main" }, "listening");
  services.osImages.reportTo((image, problem) => {
    if (problem === undefined) log.info({ image }, "OS image downloaded");
    else log.warn({ image, err: problem }, "OS image not downloaded");
  });
  if (services.settings.enforceSelfAuthorization) renewSelfBootOnTimer({ services, log });
  return listener;
}

function metricsSources({ osImages, collateral, now }: Services): MetricsSources {
  return { downloads: osImages.counts, collateral: () => collateralMetrics(collateral, now) };
}

/** A signal ends both. */
async function serveAdmin({ services, log, serving }: Run, admin: AdminService, main: Listener): Promise<void> {
  const listener = await admin.serve(adminRpcs(services), log);
  serving({ url: main.url, close: async () => void (await Promise.all([main.close(), listener.close()])) });
  log.info({ url: listener.url, mode: "admin" }, "listening");
}

/** Operators read here that this KMS no longer proves itself, before a caller does. */
function renewSelfBootOnTimer({ services, log }: Pick<Run, "services" | "log">): void {
  const renew = () =>
    services
      .renewSelfBoot()
      .catch((thrown: unknown) => log.warn({ err: thrown }, "own evidence not renewed, the next call tries again"));
  setInterval(renew, SELF_BOOT_RENEWAL_MS).unref();
}

async function readTlsFiles({ keyFile, certFile, clientCaFile }: TlsFiles) {
  try {
    const [keyPem, certPem, tempCaPem] = await Promise.all([
      readFile(keyFile),
      readFile(certFile, "utf8"),
      readFile(clientCaFile, "utf8"),
    ]);
    return { keyPem, certPem, tempCaPem };
  } catch (cause) {
    throw new KmsError("fault.start", "rpc.tls: a file cannot be read", { cause });
  }
}
