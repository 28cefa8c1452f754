/**
 * Puts the broker together from its parts and runs it. With main.ts and development.ts the composition root: the
 * only files that know everybody; nobody imports them. What it puts together is in the files beside it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { approvalsHandlers } from '../api/approvals-service.ts';
import { keyUseHandlers } from '../api/key-use-service.ts';
import { operatorHandlers } from '../api/operator-service.ts';
import { Router } from '../api/router.ts';
import { ApprovalService } from '../approvals/approval-service.ts';
import type { IsFrozen } from '../approvals/tally.ts';
import { systemClock } from '../audit/clock.ts';
import type { Sequencer } from '../audit/sequencer.ts';
import type { LastmileConfig } from '../config.ts';
import { EncryptionCounter } from '../keyuse/encryption-counter.ts';
import { Failure } from '../keyuse/failure.ts';
import { Freezes } from '../keyuse/freezes.ts';
import { KeyAdministration } from '../keyuse/key-administration.ts';
import { KeyCatalog } from '../keyuse/key-catalog.ts';
import { KeyUse } from '../keyuse/key-use.ts';
import { TokenProbe } from '../keyuse/token-health.ts';
import { PROVE_AGAIN_MS, TokenKeys } from '../keyuse/token-keys.ts';
import { TokenPool } from '../keyuse/token-pool.ts';
import { SignatureVerifier } from '../keyuse/verify/signature-verifier.ts';
import { ApprovalRows } from '../state/approval-rows.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { StateStore } from '../state/state-store.ts';
import type { Log } from '../telemetry/log.ts';
import { startMetrics } from '../telemetry/metrics.ts';
import { RequestCounter } from '../telemetry/request-counter.ts';
import { ConfiguredTokens } from './configured-tokens.ts';
import { openCounters } from './counters.ts';
import type { Listenable } from './listening.ts';
import { openOutward } from './outward.ts';
import { PolicyHolder } from './policy-holder.ts';
import { processUsers } from './process-users.ts';
import { RefusedHandshakes } from './refused-handshakes.ts';
import { openSignedLog } from './signed-log.ts';
import { SoftwareGeneration } from './software-generation.ts';
import { StatusReport } from './status-report.ts';

/** The broker without its listeners: what `init` needs to make keys, and what `serve` puts gateways in front of. */
export interface Core extends Listenable {
  readonly administration: KeyAdministration;
  readonly catalog: KeyCatalog;
  readonly keys: TokenKeys;
  readonly audit: Sequencer;
  readonly policy: PolicyHolder;
  readonly warnings: () => readonly string[];
  /** Connects the log's key once it is proven; call again after it was made. */
  readonly connectSigner: () => void;
  /** Writes the software generation; requests refer to it. */
  readonly announce: () => Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens state and log, starts the token workers, and resolves when each token serves or is known not to.
 *
 * @throws when the state, the policy or the configured isolation cannot be had
 */
export async function openCore(config: LastmileConfig, log: Log): Promise<Core> {
  await mkdir(config.state, { recursive: true, mode: 0o700 });
  await mkdir(config.audit.directory, { recursive: true, mode: 0o700 });
  const store = new StateStore(join(config.state, 'state.db'));
  const catalog = new KeyCatalog(store);
  const signedLog = await openSignedLog({ config, store, catalog, log });
  const { audit } = signedLog;
  // Policy and key use ask for approvals, and those go by the clock of key use: nobody is asked before all are there.
  let approvals: ApprovalService | undefined;
  const policy = await PolicyHolder.open({
    file: config.policy,
    history: join(config.state, 'policies'),
    administrators: config.administrators,
    trustDomain: config.trustDomain,
    audit,
    rows: new PolicyRows(store),
    names: () => ({ knownKeys: catalog.names(), knownWorkloads: audit.workloads() }),
    approvals: () => approvals,
    log,
  });
  const users = processUsers(config);
  let isClosing = false;
  const tokens = new ConfiguredTokens({ config, users, store, audit, log, isClosing: () => isClosing });
  const freezes = new Freezes(store);
  let whenPumped: (() => void) | undefined;
  const encryptions = new EncryptionCounter(store, (key, reserved) =>
    log('warn', 'an AES-GCM key is half used up: create a new version', { key, reserved }),
  );
  const keys = new TokenKeys({
    tokens: tokens.all,
    catalog,
    audit,
    origin: config.audit.origin,
    encryptions,
    log,
    onChange: () => whenPumped?.(),
  });
  const pool = new TokenPool(keys, freezes, (workload) => policy.current.weight(workload));
  whenPumped = () => pool.pump();
  const verifier = new SignatureVerifier({ isIdleInline: true });
  const administration = new KeyAdministration(catalog, keys, encryptions);
  const outward = openOutward(config, users.roles, log);
  const counters = await openCounters({
    audit,
    store,
    stateDirectory: config.state,
    approvals: {
      take: async (petition) => people().take(petition),
      isApproved: (petition) => people().isApproved(petition),
      approved: async (id, signal) => people().approved(id, signal),
    },
    log,
  });
  const people = (): ApprovalService => {
    if (approvals === undefined) throw new Failure('BUSY', 'approvals cannot be looked up yet');
    return approvals;
  };
  const isFrozen: IsFrozen = (approver) => freezes.isApproverFrozen(approver);
  approvals = new ApprovalService({
    store: new ApprovalRows(store),
    audit,
    policy: () => policy.current,
    clock: counters.clock,
    isFrozen,
    isTokenKey: (spki) =>
      catalog
        .all()
        .some(({ objects }) => objects.some(({ publicKey }) => Buffer.from(publicKey).equals(spki))),
    relyingParty: outward.party,
    notify: outward.notify,
    log,
  });
  await approvals.start({ size: audit.size, read: (fromLeaf) => audit.read(fromLeaf) });
  const generation = new SoftwareGeneration({
    audit,
    configSha256: config.sha256,
    policyHash: () => policy.current.hash,
    tokens: tokens.all,
    log,
  });
  const keyUse = new KeyUse({
    policy: () => policy.current,
    administrators: new Set(config.administrators),
    catalog,
    keys,
    pool,
    freezes,
    audit,
    verifier,
    spending: counters.spending,
    clock: counters.clock,
    encryptions,
    generation: () => generation.current,
    log,
  });

  tokens.watch((token) => generation.tokenChanged(token));
  await tokens.settled();
  await keys.settled();
  const probe = new TokenProbe(
    tokens.all,
    (token) => pool.health(token),
    () => pool.pump(),
  );
  signedLog.connectSigner(keys);

  const proving = setInterval(() => keys.proveAgain(), PROVE_AGAIN_MS).unref();
  const refusedHandshakes = new RefusedHandshakes({
    audit,
    clock: systemClock,
    windowMs: config.audit.refusalWindowMs,
    onFailure: (error) => log('warn', 'refused handshakes are not on record yet', { error: String(error) }),
  });
  const requests = new RequestCounter();
  const isServing = (): boolean => !isClosing && audit.failure === undefined && tokens.isAnyServing;
  const { metricsFile, intervalMs } = config.telemetry;
  const metrics =
    metricsFile === undefined
      ? undefined
      : await startMetrics({
          file: metricsFile,
          intervalMs,
          onFailure: (error) => log('warn', 'the metrics cannot be written', { error: String(error) }),
          sources: {
            requests: () => requests.all(),
            refusedHandshakes: () => refusedHandshakes.sinceStart,
            tokens: () =>
              tokens.all.map((token) => {
                const { serviceMs, errors } = pool.load(token);
                return {
                  name: token.name,
                  state: token.state,
                  inFlight: token.inFlight,
                  sessions: token.info?.sessions ?? 0,
                  serviceSeconds: serviceMs / 1000,
                  errors,
                  restarts: token.worker?.restarts ?? 0,
                };
              }),
            log: () => ({
              entries: audit.size,
              signed: audit.status.checkpointSize,
              isWritable: audit.failure === undefined,
            }),
            isServing,
            emergencyUses: () => approvals?.emergencyUses ?? 0,
          },
        });
  const report = new StatusReport({
    config,
    users,
    catalog,
    audit,
    policy,
    tokens: tokens.all,
    counters,
    approvals: () => approvals,
    outward,
    refusedHandshakes,
    requests,
    generation,
  });

  return {
    config,
    administration,
    catalog,
    keys,
    audit,
    policy,
    warnings: () => report.warnings(),
    connectSigner: () => signedLog.connectSigner(keys),
    announce: () => generation.announce(),
    outward,
    pages: () =>
      outward.pages({
        service: people(),
        policy: () => policy.current,
        isFrozen,
        now: () => counters.clock.now(),
      }),
    refused: (reason, count) => refusedHandshakes.count(reason, count),
    router: (connections) =>
      new Router({
        keyUse: keyUseHandlers(keyUse, audit, {
          profileOf: (id) => policy.current.certificateProfile(id),
          now: () => counters.clock.now(),
        }),
        operators: new Map([
          ...approvalsHandlers({
            approvals: people(),
            identify: (caller, call, method) => keyUse.identify(caller, call, method),
            decideMethod: (question) => policy.current.decideMethod(question),
            audit,
          }),
          ...operatorHandlers({
            policy: () => policy.current,
            keyUse,
            trustDomains: [config.trustDomain],
            catalog,
            administration,
            keys,
            freezes,
            encryptionsReserved: (name, version) => encryptions.reserved(name, version),
            audit,
            generation: () => generation.current,
            verifierKey: () => signedLog.verifierKey(),
            status: () => report.status(),
            unblockToken: (name) => tokens.unblock(name),
            drainToken: (name) => tokens.drain(name),
            undrainToken: (name) => tokens.undrain(name),
            tokenLoad: (token) => pool.load(token),
            policies: () => policy,
            approvals: () => approvals,
            clock: counters.clock,
          }),
        ]),
        audit,
        serving: () => ({ keyUse: isServing() }),
        onEnd: ({ service, name }, reason, milliseconds) => {
          requests.count(`${service}.${name}`, reason ?? 'OK');
          metrics?.took(`${service}.${name}`, milliseconds);
        },
        onOverQuota: (connection) => connections.reject(connection, 'too many refused requests'),
        onInternalError: (method, error) =>
          log('error', 'internal error', {
            method,
            error: error instanceof Error ? (error.stack ?? error.message) : String(error),
          }),
      }),
    listensThrough: (gateways) => report.gatewaysAre(gateways),
    close: async () => {
      isClosing = true;
      // While it can still be told what was; that nothing is served stays in the file.
      await metrics?.close();
      probe.close();
      clearInterval(proving);
      tokens.closeJournal();
      policy.close();
      approvals?.close();
      await outward.close();
      await counters.close();
      await refusedHandshakes.close();
      // Before the tokens: the last checkpoint is signed by one of them.
      await signedLog.close();
      await tokens.close();
      await verifier.close();
      store.close();
    },
  };
}
