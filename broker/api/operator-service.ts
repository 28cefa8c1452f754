import type { MethodDecision, PolicySet } from '../../policy/decision.ts';
import { compileScope } from '../../policy/scope.ts';
import { parseSpiffeId, SpiffeIdError } from '../../policy/spiffe-id.ts';
import type { Approvals } from '../approvals/approvals.ts';
import { AuditError, type EntryValue } from '../audit/entry.ts';
import type { EntryFilter, EntryPage } from '../audit/query.ts';
import { TlogError } from '../audit/tlog/hash.ts';
import type { Call, Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import { FREEZE_KINDS, type FreezeKind, type Freezes } from '../keyuse/freezes.ts';
import type { KeyAdministration } from '../keyuse/key-administration.ts';
import { publishVersion } from '../keyuse/key-administration.ts';
import type { KeyCatalog, KeyVersion } from '../keyuse/key-catalog.ts';
import type { KeyUse } from '../keyuse/key-use.ts';
import type { TokenKeys } from '../keyuse/token-keys.ts';
import type { TokenLoad } from '../keyuse/token-pool.ts';
import { codec } from '../proto/codec.ts';
import type { CreateKeyRequest__Output } from '../proto/gen/lastmile/v1/CreateKeyRequest.ts';
import type { DrainTokenRequest__Output } from '../proto/gen/lastmile/v1/DrainTokenRequest.ts';
import type { FreezeRequest__Output } from '../proto/gen/lastmile/v1/FreezeRequest.ts';
import type { GetCheckpointRequest__Output } from '../proto/gen/lastmile/v1/GetCheckpointRequest.ts';
import type { GetEntryRequest__Output } from '../proto/gen/lastmile/v1/GetEntryRequest.ts';
import type { GetKeyRequest__Output } from '../proto/gen/lastmile/v1/GetKeyRequest.ts';
import type { GetProofRequest__Output } from '../proto/gen/lastmile/v1/GetProofRequest.ts';
import type { ImportKeyRequest__Output } from '../proto/gen/lastmile/v1/ImportKeyRequest.ts';
import type { QueryRequest__Output } from '../proto/gen/lastmile/v1/QueryRequest.ts';
import type { ReadTileRequest__Output } from '../proto/gen/lastmile/v1/ReadTileRequest.ts';
import type { UnblockTokenRequest__Output } from '../proto/gen/lastmile/v1/UnblockTokenRequest.ts';
import type { UndrainTokenRequest__Output } from '../proto/gen/lastmile/v1/UndrainTokenRequest.ts';
import type { AdminMethod, AuditMethod } from '../proto/methods.ts';
import { describeClock, type OperatorClock, serveClock } from './clock-service.ts';
import { agreementToKey, createdKey, importedKey, type KeyRequest } from './key-agreement.ts';
import type { Handler } from './key-use-service.ts';
import { Unreadable } from './messages.ts';
import { type PolicyVersions, servePolicies } from './policy-service.ts';
import { asFailure } from './status.ts';

/** The log as operators and auditors read it. */
export interface ReadableLog {
  readonly origin: string;
  readonly size: number;
  /** Undefined while entries can be written; otherwise why not. */
  readonly failure: AuditError | undefined;
  append(draft: {
    readonly kind: 'method' | 'freeze' | 'unfreeze' | 'token';
    readonly subject: string;
    readonly credential: string;
    readonly peer: string;
    readonly operation: string;
    readonly decision: 'allow' | 'deny';
    readonly rule: string;
    readonly policy: string;
    readonly reason?: string | undefined;
    readonly performed?: 'no' | 'unknown' | 'yes' | undefined;
    readonly key?: string | undefined;
    readonly version?: number | undefined;
    readonly generation?: number | undefined;
    readonly detail?: { readonly [name: string]: EntryValue | undefined } | undefined;
  }): Promise<{ readonly leafIndex: number }>;
  appendRefusal(draft: Parameters<ReadableLog['append']>[0]): Promise<unknown>;
  queryPage(filter: EntryFilter, signal: AbortSignal): Promise<EntryPage>;
  getEntry(leafIndex: number): Promise<Uint8Array | undefined>;
  getReceipt(leafIndex: number): Promise<string | undefined>;
  getCheckpoint(options: { fresh?: boolean }): Promise<{ readonly note: string } | undefined>;
  getProof(
    of: { leafIndex: number } | { fromSize: number },
    treeSize: number,
  ): Promise<{ readonly hashes: readonly Uint8Array[]; readonly treeSize: number }>;
  readPublished(path: string): Promise<Uint8Array | undefined>;
}

export interface OperatorServices {
  readonly policy: () => PolicySet;
  readonly keyUse: KeyUse;
  /** Whose workloads are served: a freeze of any other would freeze nothing. */
  readonly trustDomains: readonly string[];
  readonly catalog: KeyCatalog;
  readonly administration: KeyAdministration;
  readonly keys: TokenKeys;
  readonly freezes: Freezes;
  readonly encryptionsReserved: (name: string, version: number) => number;
  readonly audit: ReadableLog;
  readonly generation: () => number;
  readonly verifierKey: () => string;
  /** GetStatusResponse, but for what is known here. */
  readonly status: () => Promise<object>;
  readonly unblockToken: (name: string) => Promise<void>;
  /** Durable before it returns; to how many operations the token still has. */
  readonly drainToken: (name: string) => number;
  readonly undrainToken: (name: string) => void;
  readonly tokenLoad: (token: TokenKeys['tokens'][number]) => TokenLoad;
  readonly policies: () => PolicyVersions;
  readonly clock: OperatorClock;
  /** Asked where the policy wants people to agree to a new key. Undefined: then no such key is made. */
  readonly approvals?: (() => Pick<Approvals, 'take'> | undefined) | undefined;
}

interface Permission {
  readonly decision: MethodDecision;
  readonly caller: Caller;
  readonly method: string;
}

const MAX_REASON_BYTES = 256;
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Admin and Audit: the same default deny as key use, by `roles`. Whoever may not call a method learns nothing else;
 * every call that changes something, and every look into the log, is an entry before it is answered.
 */
export function operatorHandlers(services: OperatorServices): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>();

  async function permit(caller: Caller, call: Call, method: string): Promise<Permission> {
    await services.keyUse.identify(caller, call, method);
    const decision = services.policy().decideMethod({ spiffeId: caller.identity.spiffeId.id, method });
    const permission = { decision, caller, method };
    if (decision.effect === 'deny') {
      await services.audit.appendRefusal({
        ...entryOf(permission),
        decision: 'deny',
        reason: 'POLICY_DENIED',
        performed: 'no',
      });
      throw new Failure('POLICY_DENIED', 'the policy does not allow this');
    }
    return permission;
  }

  function entryOf({ decision, caller, method }: Permission) {
    return {
      kind: 'method' as const,
      subject: caller.identity.spiffeId.id,
      credential: caller.identity.credential.sha256,
      peer: caller.peer,
      operation: method,
      decision: 'allow' as const,
      rule: decision.rule,
      policy: decision.policyHash,
      generation: services.generation(),
    };
  }

  /**
   * Runs a change between two entries: that it is begun, before it is, and how it ended, before the caller hears of it.
   * The second names the first (`begun`), and has what `run` noted. A freeze has the second alone: it comes before everything, a log that cannot
   * be written included.
   */
  async function change<T>(
    permission: Permission,
    detail: { readonly [name: string]: EntryValue | undefined },
    run: (note: (more: { readonly [name: string]: EntryValue }) => void) => T | Promise<T>,
    more: { key?: string; kind?: 'freeze' | 'unfreeze' | 'token' } = {},
  ): Promise<{ readonly value: T; readonly leafIndex: number }> {
    const common = { ...entryOf(permission), ...more };
    let ended = detail;
    if (more.kind !== 'freeze') {
      if (services.audit.failure !== undefined) throw services.audit.failure;
      const begun = await services.audit.append({
        ...common,
        performed: 'unknown',
        detail: { ...detail, stage: 'begun' },
      });
      ended = { ...detail, begun: begun.leafIndex };
    }
    let value: T;
    try {
      value = await run((found) => {
        ended = { ...ended, ...found };
      });
    } catch (error) {
      const failure =
        error instanceof AuditError
          ? new Failure(error.reason, error.message, { performed: 'unknown', cause: error })
          : asFailure(error);
      const { reason, performed, metadata } = failure;
      try {
        await services.audit.append({ ...common, reason, performed, detail: { ...ended, ...metadata } });
      } catch (cause) {
        if (failure.reason === 'INTERNAL') throw failure;
        throw new Failure(
          reason,
          `${failure.message} (and how this ended is not on record: the audit log cannot be written)`,
          {
            performed,
            metadata,
            cause,
          },
        );
      }
      throw failure;
    }
    try {
      const { leafIndex } = await services.audit.append({ ...common, performed: 'yes', detail: ended });
      return { value, leafIndex };
    } catch (cause) {
      throw new Failure('AUDIT_UNAVAILABLE', 'done, but not on record: the audit log cannot be written', {
        performed: 'yes',
        cause,
      });
    }
  }

  /** Makes a key once people have agreed, where they have to. What was not made does not use their approval up. */
  async function withAgreement<T>(
    { caller }: Permission,
    asked: Omit<KeyRequest, 'requester'>,
    note: (more: { readonly [name: string]: EntryValue }) => void,
    make: () => Promise<T>,
  ): Promise<T> {
    const requester = caller.identity.spiffeId.id;
    const approval = await agreementToKey({ ...asked, requester }, services.policy(), services.approvals?.());
    if (approval === undefined) return make();
    note({ approval: approval.record });
    try {
      return await make();
    } catch (error) {
      if (error instanceof Failure && error.performed === 'no') approval.giveBack();
      throw error;
    }
  }

  function serve<In>(
    service: 'Admin' | 'Audit',
    name: AdminMethod | AuditMethod,
    run: (request: In, permission: Permission, call: Call) => Promise<object> | object,
  ): void {
    const request = codec<object, object>(`lastmile.v1.${name}Request`);
    const response = codec<object, object>(`lastmile.v1.${name}Response`);
    handlers.set(`/lastmile.v1.${service}/${name}`, async (caller, call, payload) => {
      const permission = await permit(caller, call, `${service}.${name}`);
      let decoded: In;
      try {
        decoded = request.decode(payload) as In;
      } catch (cause) {
        throw new Unreadable(cause);
      }
      return response.encode(await run(decoded, permission, call));
    });
  }

  const position = (leafIndex: number): object => ({ origin: services.audit.origin, leafIndex });

  function describeVersion(version: KeyVersion): object {
    const tokenName = (serial: string): string => services.keys.tokenOf(serial)?.name ?? serial;
    const { pem, kid } = publishVersion(version);
    return {
      key: version.name,
      version: version.version,
      purpose: version.purpose,
      algorithms: version.algorithms,
      state: services.freezes.isFrozen('key', version.name) ? `${version.state}, frozen` : version.state,
      createdAt: version.createdAt,
      provenance: version.provenance,
      // By name, as an operator knows them: the catalog has them by serial.
      tokens: version.objects.map((object) => tokenName(object.tokenSerial)).sort(),
      provenOn: services.keys
        .bindings(version.id)
        .map(({ token }) => token.name)
        .sort(),
      verify: version.verify,
      publicKeyPem: pem,
      kid,
      encryptionsReserved: services.encryptionsReserved(version.name, version.version),
      decryptOnly: version.decryptOnly,
      rawSigning: version.rawSigning,
    };
  }

  serve('Admin', 'GetStatus', async () => ({
    ...(await services.status()),
    clock: describeClock(services.clock),
    tokens: describeTokens(services),
    freezes: services.freezes.list(),
  }));
  serve('Admin', 'ListKeyVersions', () => ({ keys: services.catalog.all().map(describeVersion) }));
  serve<GetKeyRequest__Output>('Admin', 'GetKey', ({ key }) => {
    const versions = services.catalog.versions(key);
    if (versions.length === 0) throw new Failure('REQUEST_INVALID', 'there is no key of that name');
    return { versions: versions.map(describeVersion) };
  });
  serve<CreateKeyRequest__Output>('Admin', 'CreateKey', async (request, permission) => {
    const { value, leafIndex } = await change(
      permission,
      {
        algorithms: request.algorithms.slice(0, 8).map(bounded),
        tokens: request.tokens.slice(0, 16).map(bounded),
        verify: bounded(request.verify),
        ...(request.rawSigning ? { rawSigning: true } : {}),
      },
      (note) =>
        withAgreement(
          permission,
          { method: 'Admin.CreateKey', key: request.key, wanted: createdKey(request) },
          note,
          () => services.administration.create(request),
        ),
      { key: bounded(request.key) },
    );
    return { versions: [describeVersion(value)], log: position(leafIndex) };
  });
  serve<ImportKeyRequest__Output>('Admin', 'ImportKey', async (request, permission) => {
    const { value, leafIndex } = await change(
      permission,
      {
        algorithms: request.algorithms.slice(0, 8).map(bounded),
        token: bounded(request.token),
        source: request.source ?? '',
        ...(request.rawSigning ? { rawSigning: true } : {}),
      },
      (note) => {
        // Field by field: a decoded message has what was not sent on its prototype, which a spread leaves behind.
        const { key, purpose, algorithms, token, verify, rawSigning } = request;
        const source = importSource(request);
        return withAgreement(
          permission,
          { method: 'Admin.ImportKey', key, wanted: importedKey(request) },
          note,
          () =>
            services.administration.importKey({
              key,
              purpose,
              algorithms,
              token,
              verify,
              rawSigning,
              source,
            }),
        );
      },
      { key: bounded(request.key) },
    );
    return { version: describeVersion(value), log: position(leafIndex) };
  });
  serve('Admin', 'ListTokens', () => ({ tokens: describeTokens(services) }));
  serve<UnblockTokenRequest__Output>('Admin', 'UnblockToken', async ({ token, reason }, permission) => {
    requireReason(reason);
    const { leafIndex } = await change(
      permission,
      { token: bounded(token), why: bounded(reason) },
      () => services.unblockToken(token),
      {
        kind: 'token',
      },
    );
    return { log: position(leafIndex) };
  });
  serve<DrainTokenRequest__Output>('Admin', 'DrainToken', async ({ token, reason }, permission) => {
    requireReason(reason);
    const { value, leafIndex } = await change(
      permission,
      { token: bounded(token), why: bounded(reason) },
      () => services.drainToken(token),
      { kind: 'token' },
    );
    return { log: position(leafIndex), inFlight: value };
  });
  serve<UndrainTokenRequest__Output>('Admin', 'UndrainToken', async ({ token, reason }, permission) => {
    requireReason(reason);
    const { leafIndex } = await change(
      permission,
      { token: bounded(token), why: bounded(reason) },
      () => services.undrainToken(token),
      { kind: 'token' },
    );
    return { log: position(leafIndex) };
  });
  serve<FreezeRequest__Output>('Admin', 'Freeze', async ({ kind, subject, reason }, permission) => {
    requireReason(reason);
    const what = freezeKind(kind);
    const row = {
      kind: what,
      subject: freezeSubject(services, what, subject),
      reason: bounded(reason),
      by: permission.caller.identity.spiffeId.id,
      since: new Date().toISOString(),
    };
    // Frozen first, recorded second: a freeze that can be neither stored nor logged still holds.
    const { leafIndex } = await change(
      permission,
      { what: row.kind, whom: row.subject, why: row.reason },
      () => services.freezes.put(row),
      {
        kind: 'freeze',
      },
    );
    return { log: position(leafIndex) };
  });
  serve<FreezeRequest__Output>('Admin', 'Unfreeze', async ({ kind, subject, reason }, permission) => {
    requireReason(reason);
    const what = freezeKind(kind);
    // As it was put, even if it is nobody's name any more; or by the serial of a token.
    const row =
      services.freezes.get(what, subject) ??
      (what === 'token' ? services.freezes.get(what, tokenNamed(services, subject)?.name ?? '') : undefined);
    if (row === undefined) throw new Failure('REQUEST_INVALID', `${kind} ${bounded(subject)} is not frozen`);
    // Read before it is on record, lifted after: what is not on record does not grant, and a newer freeze holds.
    const { leafIndex } = await change(
      permission,
      { what, whom: bounded(row.subject), why: bounded(reason) },
      () => {
        if (!services.freezes.lift(row))
          throw new Failure(
            'REQUEST_INVALID',
            `${kind} ${bounded(subject)} was frozen again or lifted meanwhile`,
          );
      },
      { kind: 'unfreeze' },
    );
    return { log: position(leafIndex) };
  });
  serve('Admin', 'ListFreezes', () => ({ freezes: services.freezes.list() }));
  servePolicies<Permission>({ serve, change, position }, services.policies, services);
  serveClock<Permission>({ serve, change, position }, services.clock);

  async function look(
    permission: Permission,
    detail: { readonly [name: string]: EntryValue | undefined },
  ): Promise<void> {
    await services.audit.append({ ...entryOf(permission), performed: 'yes', detail });
  }

  serve<QueryRequest__Output>('Audit', 'Query', async (request, permission, call) => {
    await look(permission, {
      workload: bounded(request.workload),
      key: bounded(request.key),
      limit: request.limit,
    });
    const inScope = compileScope(permission.decision.scope);
    const filter = {
      ...(request.workload === '' ? {} : { workload: request.workload }),
      ...(request.key === '' ? {} : { key: request.key }),
      ...(request.decision === '' ? {} : { decision: request.decision }),
      ...(request.operation === '' ? {} : { operation: request.operation }),
      ...(request.kind === '' ? {} : { kind: request.kind }),
      ...(request.since === '' ? {} : { since: instant(request.since) }),
      ...(request.until === '' ? {} : { until: instant(request.until) }),
      ...(request.before === 0 ? {} : { before: request.before }),
      limit: request.limit === 0 ? 50 : Math.min(request.limit, 1000),
      isVisible: inScope,
    } as EntryFilter;
    const { entries, continueBefore } = await whileWanted(call, (signal) =>
      services.audit.queryPage(filter, signal),
    );
    return {
      entries: entries.map(({ leafIndex, bytes }) => ({ leafIndex, entry: bytes })),
      logSize: services.audit.size,
      continueBefore: continueBefore ?? 0,
    };
  });
  serve<GetEntryRequest__Output>('Audit', 'GetEntry', async ({ leafIndex }, permission) => {
    await look(permission, { leaf: leafIndex });
    const entry = await services.audit.getEntry(leafIndex);
    const inScope = compileScope(permission.decision.scope);
    if (entry === undefined || !inScope(JSON.parse(Buffer.from(entry).toString('utf8')))) {
      throw new Failure('REQUEST_INVALID', 'there is no such entry in your scope');
    }
    const receipt = await services.audit.getReceipt(leafIndex);
    return { entry: { leafIndex, entry }, receipt: receipt ?? '' };
  });
  serve<GetCheckpointRequest__Output>('Audit', 'GetCheckpoint', async ({ fresh }) => {
    const checkpoint = await services.audit.getCheckpoint({ fresh });
    if (checkpoint === undefined) throw new Failure('AUDIT_UNAVAILABLE', 'there is no signed checkpoint yet');
    return { checkpoint: checkpoint.note, verifierKey: services.verifierKey() };
  });
  serve<GetProofRequest__Output>('Audit', 'GetProof', async (request) => {
    const of =
      request.proof === 'fromSize'
        ? { fromSize: request.fromSize ?? 0 }
        : { leafIndex: request.leafIndex ?? 0 };
    try {
      const proof = await services.audit.getProof(of, request.treeSize);
      return { hashes: proof.hashes, treeSize: proof.treeSize };
    } catch (cause) {
      if (cause instanceof TlogError) throw new Failure('REQUEST_INVALID', cause.message, { cause });
      throw cause;
    }
  });
  serve<ReadTileRequest__Output>('Audit', 'ReadTile', async ({ path }, permission) => {
    // Hashes may be public; entries are for those who may see all of them.
    if (path.includes('entries') && permission.decision.scope !== undefined) {
      throw new Failure(
        'POLICY_DENIED',
        'your role sees part of the log: whole entry bundles are not for it',
      );
    }
    if (path.includes('entries')) await look(permission, { tile: bounded(path) });
    let content: Uint8Array | undefined;
    try {
      content = await services.audit.readPublished(path);
    } catch (cause) {
      if (cause instanceof TlogError)
        throw new Failure('REQUEST_INVALID', 'path is not one of a tile', { cause });
      if (cause instanceof AuditError) throw new Failure(cause.reason, cause.message, { cause });
      throw cause;
    }
    if (content === undefined) throw new Failure('REQUEST_INVALID', 'there is no such tile');
    return { content };
  });
  return handlers;
}

function describeTokens({ keys, tokenLoad }: Pick<OperatorServices, 'keys' | 'tokenLoad'>): object[] {
  return keys.tokens.map((token) => {
    const load = tokenLoad(token);
    const report = keys.report(token);
    return {
      name: token.name,
      serial: token.info?.serial ?? '',
      label: token.info?.label ?? '',
      model: token.info?.model ?? '',
      firmware: token.info?.firmware ?? '',
      state: token.state,
      advice: token.advice ?? '',
      software: token.info?.software ?? false,
      sessionsLimit: token.info?.sessions ?? 0,
      sessionsInUse: Math.min(token.inFlight, token.capacity),
      inFlight: token.inFlight,
      keys: report.proven,
      unusableKeys: [...report.unusable].map(([key, why]) => `${key}: ${why}`),
      restarts: token.worker?.restarts ?? 0,
      workerPid: token.worker?.pid ?? 0,
      serviceMicros: Math.round(load.serviceMs * 1000),
      circuit: load.circuit,
      errors: Object.fromEntries(load.errors),
      pinCountLow: token.info?.pinCountLow ?? false,
      pinFinalTry: token.info?.pinFinalTry ?? false,
      pinLocked: token.info?.pinLocked ?? false,
    };
  });
}

/** Hands `work` a signal that ends it when its caller has gone, or waits no longer. */
async function whileWanted<T>(call: Call, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const cancel = (): void => controller.abort(new Failure('CANCELLED', 'the caller went away'));
  const left = Math.min(Math.max(0, call.deadline - performance.now()), MAX_TIMER_MS);
  const timer = setTimeout(
    () => controller.abort(new Failure('DEADLINE_EXCEEDED', 'the deadline passed')),
    left,
  );
  if (call.aborted) cancel();
  call.addEventListener('abort', cancel);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    call.removeEventListener('abort', cancel);
  }
}

function bounded(text: string): string {
  return Buffer.byteLength(text) <= MAX_REASON_BYTES ? text : `${text.slice(0, 200)}…`;
}

function requireReason(reason: string): void {
  if (reason.trim() === '')
    throw new Failure('REQUEST_INVALID', 'a reason is required: it goes into the log');
}

function freezeKind(kind: string): FreezeKind {
  const found = FREEZE_KINDS.find((candidate) => candidate === kind);
  if (found === undefined)
    throw new Failure('REQUEST_INVALID', `kind must be one of ${FREEZE_KINDS.join(', ')}`);
  return found;
}

/** A typing error in a kill switch must not pass for a freeze. Returns the subject as key use asks for it. */
function freezeSubject(services: OperatorServices, kind: FreezeKind, subject: string): string {
  const invalid = (text: string): Failure => new Failure('REQUEST_INVALID', text);
  if (subject === '' || Buffer.byteLength(subject) > 2048) throw invalid('subject is missing or too long');
  switch (kind) {
    case 'key':
      if (services.catalog.versions(subject).length === 0) throw invalid('there is no key of that name');
      return subject;
    case 'token': {
      const token = tokenNamed(services, subject);
      if (token === undefined) throw invalid('there is no token of that name or serial');
      return token.name;
    }
    case 'credential':
      if (!/^[0-9a-f]{64}$/.test(subject)) throw invalid('a credential is its SHA-256 in 64 hex digits');
      return subject;
    case 'workload':
      if (servedId(services, subject).segments.length === 0)
        throw invalid('a workload is its whole SPIFFE ID; to freeze all of a trust domain, use trust-domain');
      return subject;
    case 'trust-domain':
      if (servedId(services, `spiffe://${subject}`).segments.length > 0)
        throw invalid('a trust domain is its name alone, such as example.org');
      return subject;
    case 'approver':
      if (!services.policy().approvers.has(subject))
        throw invalid('the policy in force has no approver of that id');
      return subject;
    default:
      return kind satisfies never;
  }
}

function servedId(services: OperatorServices, text: string): ReturnType<typeof parseSpiffeId> {
  let id: ReturnType<typeof parseSpiffeId>;
  try {
    id = parseSpiffeId(text);
  } catch (cause) {
    if (!(cause instanceof SpiffeIdError)) throw cause;
    throw new Failure('REQUEST_INVALID', `not a SPIFFE ID that anybody can have: ${cause.message}`, {
      cause,
    });
  }
  if (!services.trustDomains.includes(id.trustDomain)) {
    throw new Failure(
      'REQUEST_INVALID',
      `nobody of that trust domain is served: this broker serves ${services.trustDomains.join(', ')}`,
    );
  }
  return id;
}

function tokenNamed(services: OperatorServices, nameOrSerial: string) {
  const { tokens } = services.keys;
  return (
    tokens.find((token) => token.name === nameOrSerial) ??
    tokens.find((token) => token.info?.serial === nameOrSerial)
  );
}

function importSource(request: ImportKeyRequest__Output) {
  if (request.source === 'ckaId') return { ckaId: request.ckaId ?? '' };
  if (request.source === 'label') return { label: request.label ?? '' };
  const { wrapped } = request;
  if (wrapped === null || wrapped === undefined)
    throw new Failure('REQUEST_INVALID', 'name cka_id, label or wrapped');
  return {
    blob: wrapped.blob,
    unwrappingKeyId: wrapped.unwrappingKey,
    mechanism: wrapped.mechanism,
    publicKeyPem: wrapped.publicKeyPem,
  };
}

function instant(text: string): string {
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new Failure('REQUEST_INVALID', 'times are RFC 3339, such as 2026-11-21T08:00:00Z');
  return new Date(time).toISOString();
}
