/**
 * Puts the broker together from its parts and runs it. With main.ts and development.ts the composition root: the
 * only files that know everybody; nobody imports them.
 */
import { readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { isolationReport, roleUsers, treeRoot } from '../../hsm-adapters/frames/isolation.ts';
import { createTokenAdapter } from '../../hsm-adapters/supervisor/token-supervisor.ts';
import { approvalsHandlers } from '../api/approvals-service.ts';
import { keyUseHandlers } from '../api/key-use-service.ts';
import { operatorHandlers } from '../api/operator-service.ts';
import { Router } from '../api/router.ts';
import { ApprovalService } from '../approvals/approval-service.ts';
import type { IsFrozen } from '../approvals/tally.ts';
import { systemClock } from '../audit/clock.ts';
import { FileStorage } from '../audit/file-storage.ts';
import { openAuditLog, type Sequencer } from '../audit/sequencer.ts';
import { formatVerifierKey, makeVerifierKey } from '../audit/tlog/note.ts';
import type { LastmileConfig } from '../config.ts';
import {
  type GatewayConfiguration,
  REFUSALS,
  type Refusal,
  type TlsMaterial,
} from '../gateway/edge-frames.ts';
import { type Gateway, startGateway } from '../gateway/gateway-supervisor.ts';
import { IdentityError } from '../identity/identity.ts';
import { trustBundleFromPem } from '../identity/trust-bundle.ts';
import { verifyX509Svid } from '../identity/x509-svid.ts';
import { EncryptionCounter } from '../keyuse/encryption-counter.ts';
import { Failure } from '../keyuse/failure.ts';
import { Freezes } from '../keyuse/freezes.ts';
import { KeyAdministration } from '../keyuse/key-administration.ts';
import { KeyCatalog, type TokenObject } from '../keyuse/key-catalog.ts';
import { KeyUse } from '../keyuse/key-use.ts';
import { TokenProbe } from '../keyuse/token-health.ts';
import { TokenKeys } from '../keyuse/token-keys.ts';
import { PIPELINING, TokenPool } from '../keyuse/token-pool.ts';
import { SignatureVerifier } from '../keyuse/verify/signature-verifier.ts';
import type { KeyUseMethod } from '../proto/methods.ts';
import { ApprovalRows } from '../state/approval-rows.ts';
import { SqliteLoginLedger } from '../state/login-ledger.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { SignedTreeMemory } from '../state/signed-tree-memory.ts';
import { StateStore } from '../state/state-store.ts';
import type { Log } from '../telemetry/log.ts';
import { startMetrics } from '../telemetry/metrics.ts';
import { RequestCounter } from '../telemetry/request-counter.ts';
import { openCounters } from './counters.ts';
import { type Outward, openOutward, type PagesWiring } from './outward.ts';
import { PolicyHolder } from './policy-holder.ts';
import { RefusedHandshakes } from './refused-handshakes.ts';
import { softwareGeneration, tokenFingerprint } from './software-generation.ts';
import { TokenJournal } from './token-journal.ts';

/** The broker without its listeners: what `init` needs to make keys, and what `serve` puts gateways in front of. */
export interface Core {
  readonly config: LastmileConfig;
  readonly administration: KeyAdministration;
  readonly catalog: KeyCatalog;
  readonly keys: TokenKeys;
  readonly audit: Sequencer;
  readonly router: (connections: ConnectionControl) => Router;
  readonly status: (gateways: readonly Gateway[]) => Promise<object>;
  readonly policy: PolicyHolder;
  readonly warnings: () => readonly string[];
  /** Connects the log's key once it is proven; call again after it was made. */
  readonly connectSigner: () => void;
  /** Writes the software generation; requests refer to it. */
  readonly announce: () => Promise<void>;
  readonly refused: (reason: Refusal, count: number) => void;
  /** What people outside see of approvals. */
  readonly outward: Outward;
  readonly pages: () => PagesWiring | undefined;
  close(): Promise<void>;
}

export interface ConnectionControl {
  reject(connection: number, reason: string): void;
}

/** What uses no key and leaves no entry when it is served: counted instead. */
const READS: readonly KeyUseMethod[] = ['Verify', 'GetPublicKey', 'ListKeys', 'GetReceipt'];
const SETTLE_MS = 10_000;
const PROVE_AGAIN_MS = 5000;
const SIGN_CHECKPOINT_MS = 5000;
const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

export async function openCore(config: LastmileConfig, log: Log): Promise<Core> {
  await mkdir(config.state, { recursive: true, mode: 0o700 });
  await mkdir(config.audit.directory, { recursive: true, mode: 0o700 });
  const store = new StateStore(join(config.state, 'state.db'));
  const catalog = new KeyCatalog(store);
  const verifierKeyOf = (object: TokenObject): string =>
    // An Ed25519 SubjectPublicKeyInfo ends in the 32 bytes of the key (RFC 8410, section 4).
    formatVerifierKey(makeVerifierKey(config.audit.origin, object.publicKey.slice(-32)));
  const signedTrees = new SignedTreeMemory(store, config.audit.origin);
  const rememberSigned = (write: () => void): void => {
    try {
      write();
    } catch (error) {
      // The checkpoint itself is on disk: what is lost is that a log without it would be found out.
      log('warn', 'the newest signed tree cannot be remembered', { error: String(error) });
    }
  };
  const audit = await openAuditLog({
    storage: new FileStorage(config.audit.directory),
    origin: config.audit.origin,
    // The catalog comes before the log: a history that none of these keys signed is not to be signed by one of them.
    verifierKeys: catalog.versions(config.audit.key).flatMap(({ objects }) => objects.map(verifierKeyOf)),
    signedTree: signedTrees.last,
    onSigned: (tree) => rememberSigned(() => signedTrees.signed(tree)),
    indexPath: join(config.state, 'audit-index.db'),
    onWarning: (message, error) => log('warn', message, { error: String(error) }),
    limits: {
      publishIntervalMs: config.audit.checkpointIntervalMs,
      windowMs: config.audit.refusalWindowMs,
      quotaBytesPerHour: config.audit.refusalQuotaBytesPerHour,
    },
  });
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
  const users = roleUsers({
    uidBase: config.isolation.uidBase,
    ...(config.isolation.mode === 'shared' ? { isRoot: false } : {}),
  });
  if (config.isolation.mode === 'users' && users.gateway === undefined) {
    throw new Error('isolation.mode is `users`, which needs the broker to be started as root');
  }
  const ledger = new SqliteLoginLedger(store);
  const journal = new TokenJournal({
    audit,
    clock: systemClock,
    onFailure: (error) => log('error', 'what became of a token is not on record', { error: String(error) }),
  });
  const workerUsers = config.tokens.map((token, position) =>
    users.worker(workerNumber(token.directory, config.isolation.uidBase) ?? position, token.groups),
  );
  const drained = store.tokenDrains();
  const tokens = config.tokens.map((token, i) =>
    createTokenAdapter({
      config: token,
      ledger: journal.ledger(ledger, token.name),
      user: workerUsers[i],
      pipelining: PIPELINING + 2,
      isDrained: drained.has(token.name),
      log: (line) => log('warn', line, { token: token.name }),
    }),
  );
  const freezes = new Freezes(store);
  let whenPumped: (() => void) | undefined;
  const keys = new TokenKeys({
    tokens,
    catalog,
    audit,
    origin: config.audit.origin,
    log,
    onChange: () => whenPumped?.(),
  });
  const pool = new TokenPool(keys, freezes, (workload) => policy.current.weight(workload));
  whenPumped = () => pool.pump();
  const verifier = new SignatureVerifier({ isIdleInline: true });
  const encryptions = new EncryptionCounter(store, (key, reserved) =>
    log('warn', 'an AES-GCM key is half used up: create a new version', { key, reserved }),
  );
  const administration = new KeyAdministration(catalog, keys, encryptions);
  const outward = openOutward(config, users, log);
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
  let generation = 0;
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
    generation: () => generation,
    log,
  });

  let verifierKey = '';
  const connectSigner = (): void => {
    const version = catalog.find(config.audit.key, 0);
    const object = version?.objects[0];
    if (version === undefined || object === undefined) return;
    verifierKey = verifierKeyOf(object);
    audit.setSigner({
      verifierKey,
      sign: async (bytes) => {
        const binding = keys
          .bindings(version.id)
          .find(({ token }) => token.info?.serial === object.tokenSerial);
        if (binding === undefined)
          throw new Failure('TOKEN_UNREACHABLE', 'the token with the key of the log cannot be reached');
        return binding.token.sign(
          { object: binding.object, algorithm: 'Ed25519', data: bytes },
          { deadline: performance.now() + SIGN_CHECKPOINT_MS },
        );
      },
    });
  };

  let isClosing = false;
  const announced = new Map<TokenAdapter, string>();
  const announce = async (): Promise<void> => {
    for (const token of tokens) announced.set(token, tokenFingerprint(token));
    const draft = await softwareGeneration({
      root: treeRoot(),
      version: VERSION,
      configSha256: config.sha256,
      policyHash: policy.current.hash,
      tokens,
    });
    generation = (await audit.append(draft)).leafIndex;
  };
  for (const token of tokens) {
    journal.watch(token);
    token.watch(() => {
      const isExpected = token.state === 'ready' || token.state === 'starting' || isClosing;
      log(isExpected ? 'info' : 'warn', `token ${token.state}`, {
        token: token.name,
        ...(token.advice === undefined ? {} : { advice: token.advice }),
      });
      const before = announced.get(token);
      if (token.state === 'ready' && before !== undefined && before !== tokenFingerprint(token)) {
        announce().catch((error) =>
          log('error', 'the software generation is not on record', { error: String(error) }),
        );
      }
    });
  }
  await settle(tokens);
  await keys.settled();
  const probe = new TokenProbe(
    tokens,
    (token) => pool.health(token),
    () => pool.pump(),
  );
  connectSigner();

  const proving = setInterval(() => keys.proveAgain(), PROVE_AGAIN_MS).unref();
  const tokenNamed = (name: string): TokenAdapter => {
    const token = tokens.find((candidate) => candidate.name === name);
    if (token === undefined) throw new Failure('REQUEST_INVALID', 'there is no token of that name');
    return token;
  };
  const refusedHandshakes = new RefusedHandshakes({
    audit,
    clock: systemClock,
    windowMs: config.audit.refusalWindowMs,
    onFailure: (error) => log('warn', 'refused handshakes are not on record yet', { error: String(error) }),
  });
  const requests = new RequestCounter();
  const isServing = (): boolean =>
    !isClosing &&
    audit.failure === undefined &&
    tokens.some(({ state }) => state === 'ready' || state === 'degraded');
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
              tokens.map((token) => {
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
  const warnings = (): string[] => {
    const found: string[] = [];
    if (audit.failure !== undefined) found.push(`audit log: ${audit.failure.message}: key use is stopped`);
    if (policy.refusal !== '')
      found.push('the policy file is not in force: the policy before it is (see policyRefusal)');
    if (config.profile === 'development') found.push('development instance: its CA and PINs are files');
    if (
      isolationReport([
        users.gateway,
        users.controlGateway,
        ...workerUsers,
        ...(config.courier === undefined ? [] : [users.courier]),
      ]) !== 'processes isolated by user id'
    ) {
      found.push('processes not isolated: start the broker as root, and each gets a user of its own');
    }
    const software = tokens.filter((token) => token.info?.software === true);
    if (software.length > 0) found.push(`software token: ${software.map((token) => token.name).join(', ')}`);
    if (catalog.find(config.audit.key, 0) === undefined)
      found.push(`the log has no key: create ${config.audit.key} (Ed25519) on a token`);
    found.push(...counters.warnings());
    const stopped = approvals?.stopped;
    if (stopped !== undefined)
      found.push(`approvals are stopped: ${stopped}; look into it, then \`lastmile approvals accept-state\``);
    const { lost = 0 } = outward.courier?.status() ?? {};
    if (lost > 0) found.push(`courier: ${lost} deliveries were given up since the broker started`);
    for (const { rule, until } of policy.current.observing) {
      const end = new Date(until).toISOString();
      found.push(
        counters.clock.now() < until
          ? `the rule ${rule} only observes, until ${end}: it refuses nothing`
          : `the rule ${rule} was to observe until ${end} and is enforced since: say so in the policy`,
      );
    }
    found.push('log is not witnessed: it proves nothing against the holder of its key');
    return found;
  };

  return {
    config,
    administration,
    catalog,
    keys,
    audit,
    policy,
    warnings,
    connectSigner,
    announce,
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
            administration: administration,
            keys,
            freezes,
            encryptionsReserved: (name, version) => encryptions.reserved(name, version),
            audit,
            generation: () => generation,
            verifierKey: () => verifierKey,
            status: () => status([]),
            unblockToken: async (name) => tokenNamed(name).unblock(),
            drainToken: (name) => {
              const token = tokenNamed(name);
              // On disk first: an operator who was told that it is out takes it apart.
              store.putTokenDrain(name);
              token.drain();
              return token.inFlight;
            },
            undrainToken: (name) => {
              const token = tokenNamed(name);
              store.deleteTokenDrain(name);
              token.undrain();
            },
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
    status: (gateways) => status(gateways),
    close: async () => {
      isClosing = true;
      // While it can still be told what was; that nothing is served stays in the file.
      await metrics?.close();
      probe.close();
      clearInterval(proving);
      journal.close();
      policy.close();
      approvals?.close();
      await outward.close();
      await counters.close();
      await refusedHandshakes.close();
      // Before the tokens: the last checkpoint is signed by one of them.
      await audit.close();
      rememberSigned(() => signedTrees.flush());
      await Promise.all(tokens.map((token) => token.close()));
      await verifier.close();
      store.close();
    },
  };

  async function status(gateways: readonly Gateway[]): Promise<object> {
    currentGateways = gateways.length > 0 ? gateways : currentGateways;
    const { treeSize, checkpointSize } = audit.status;
    return {
      state: audit.failure === undefined ? 'serving' : 'not-serving',
      warnings: warnings(),
      version: VERSION,
      origin: audit.origin,
      policyHash: policy.current.hash,
      policyLoadedAt: policy.loadedAt,
      policyRefusal: policy.refusal,
      logSize: audit.size,
      checkpointSize: Math.min(checkpointSize, treeSize),
      auditFailure: audit.failure?.message ?? '',
      processes: [
        processStatus('broker', process.pid, process.getuid?.() ?? 0, 'running', 0),
        ...currentGateways.flatMap((gateway) =>
          gateway
            .processes()
            .map((child) =>
              processStatus(
                child.name,
                child.pid,
                child.uid,
                child.isListening ? 'listening' : 'starting',
                child.restarts,
              ),
            ),
        ),
        ...tokens.map((token) =>
          processStatus(
            `token worker ${token.name}`,
            token.worker?.pid,
            token.worker?.uid ?? 0,
            token.state,
            token.worker?.restarts ?? 0,
          ),
        ),
        ...courierProcesses(outward),
      ],
      refusedHandshakes: Object.fromEntries(
        REFUSALS.filter((reason) => refusedHandshakes.sinceStart.has(reason)).map((reason) => [
          reason,
          refusedHandshakes.sinceStart.get(reason),
        ]),
      ),
      reads: Object.fromEntries(
        READS.map((name) => [name, requests.get(`KeyUse.${name}`, 'OK')] as const).filter(
          ([, count]) => count > 0,
        ),
      ),
      softwareGeneration: generation,
    };
  }
}

let currentGateways: readonly Gateway[] = [];

function processStatus(
  role: string,
  pid: number | undefined,
  uid: number,
  state: string,
  restarts: number,
): object {
  return { role, pid: pid ?? 0, uid, state, restarts, residentBytes: residentBytes(pid) };
}

function courierProcesses({ courier }: Outward): object[] {
  if (courier === undefined) return [];
  const { pid, uid, restarts, isReady } = courier.status();
  return [processStatus('courier', pid, uid, isReady ? 'ready' : 'starting', restarts)];
}

function residentBytes(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch (error) {
    // It has just ended, or this system has no /proc.
    if (
      (error as NodeJS.ErrnoException).code === 'ENOENT' ||
      (error as NodeJS.ErrnoException).code === 'ESRCH'
    )
      return 0;
    throw error;
  }
}

/** SoftHSM's files belong to the worker's user: the number stays with the directory, whatever the order in lastmile.yaml. */
function workerNumber(directory: string, uidBase: number): number | undefined {
  try {
    const number = statSync(directory).uid - uidBase - 10;
    return number >= 0 && number <= 999 ? number : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Times a token may end before it serves: one may be bad luck, and the others are wanted. */
const CHANCES = 2;

/** Until every token serves, is blocked, or has had its chances. */
function settle(tokens: readonly TokenAdapter[]): Promise<void> {
  const ends = new Map<TokenAdapter, number>();
  const isSettled = (): boolean =>
    tokens.every(
      (token) => (token.state !== 'starting' && token.state !== 'down') || (ends.get(token) ?? 0) >= CHANCES,
    );
  if (isSettled()) return Promise.resolve();
  return new Promise((resolve) => {
    const stops: (() => void)[] = [];
    const done = (): void => {
      clearTimeout(timer);
      for (const stop of stops) stop();
      resolve();
    };
    const timer = setTimeout(done, SETTLE_MS);
    for (const token of tokens) {
      let before = token.state;
      stops.push(
        token.watch(() => {
          if (token.state === 'down' && before !== 'down') ends.set(token, (ends.get(token) ?? 0) + 1);
          before = token.state;
          if (isSettled()) done();
        }),
      );
    }
  });
}

export interface Listening {
  readonly workloads: string;
  readonly control: string;
  /** Undefined: approvers have no pages. */
  readonly pages: string | undefined;
  /** Stops accepting, lets calls finish, ends every process. */
  stop(): Promise<void>;
}

export async function listen(core: Core, log: Log): Promise<Listening> {
  const { config } = core;
  const tls: TlsMaterial = {
    certificate: readFileSync(config.broker.certificate, 'utf8'),
    key: readFileSync(config.broker.key, 'utf8'),
    trustBundle: [readFileSync(config.trustBundle, 'utf8')],
  };
  const bundle = trustBundleFromPem(config.trustDomain, tls.trustBundle);
  const users = roleUsers({
    uidBase: config.isolation.uidBase,
    ...(config.isolation.mode === 'shared' ? { isRoot: false } : {}),
  });
  const gateways: Gateway[] = [];
  const pages = core.pages();
  const start = async (role: GatewayConfiguration['role']): Promise<Gateway> => {
    const address = role === 'workload' ? config.listen.workloads : config.listen.control;
    let gateway: Gateway | undefined;
    const router = core.router({ reject: (connection, reason) => gateway?.reject(connection, reason) });
    gateway = await startGateway({
      configuration: {
        role,
        trustDomain: config.trustDomain,
        host: address.host,
        port: address.port,
        tls: role === 'control' && pages !== undefined ? { ...tls, pages: pages.tls } : tls,
        ...(role === 'control' && pages !== undefined ? { pages: pages.configuration } : {}),
        maxConnections: config.limits.maxConnections,
        maxConnectionsPerAddress: config.limits.maxConnectionsPerAddress,
        maxStreamsPerConnection: config.limits.maxStreamsPerConnection,
        maxStreamInFlight: config.limits.maxStreamInFlight,
        maxDeadlineMs: config.limits.maxDeadlineMs,
      },
      count: role === 'workload' ? config.listen.gateways : 1,
      user: role === 'workload' ? users.gateway : users.controlGateway,
      root: treeRoot(),
      log,
      onOpen: (connection, { peer, chain }) => {
        try {
          // Again, by the broker itself: a gateway is not believed.
          router.opened(connection, { identity: verifyX509Svid(chain, bundle, Date.now()), peer });
        } catch (error) {
          if (!(error instanceof IdentityError)) throw error;
          log('warn', 'a connection that a gateway let in is refused', {
            peer,
            reason: error.reason,
            why: error.message,
          });
          core.refused('other', 1);
          gateway?.reject(connection, error.reason);
        }
      },
      onClosed: (connection) => router.closed(connection),
      onRequest: (request, reply) => router.handle(request, reply),
      onCancel: (reply) => router.cancel(reply),
      onRefused: (reason, count) => core.refused(reason, count),
      ...(role === 'control' && pages !== undefined
        ? { onPage: pages.onPage, onPagesGone: pages.onPagesGone }
        : {}),
    });
    if (gateway.pagesPort !== undefined) core.outward.pagesListen(gateway.pagesPort);
    return gateway;
  };
  try {
    gateways.push(await start('workload'));
    gateways.push(await start('control'));
  } catch (error) {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    throw error;
  }
  await core.status(gateways);
  const [workloads, control] = gateways as [Gateway, Gateway];
  return {
    workloads: `${workloads.address}:${workloads.port}`,
    control: `${control.address}:${control.port}`,
    pages: control.pagesPort === undefined ? undefined : `${control.address}:${control.pagesPort}`,
    stop: async () => {
      await Promise.all(gateways.map((gateway) => gateway.drain()));
      await Promise.all(gateways.map((gateway) => gateway.stop()));
    },
  };
}
