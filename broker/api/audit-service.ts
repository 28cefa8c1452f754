import { compileScope } from '../../policy/scope.ts';
import { AuditError } from '../audit/entry.ts';
import type { EntryFilter, EntryPage } from '../audit/query.ts';
import { TlogError } from '../audit/tlog/hash.ts';
import type { Call } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import type { GetCheckpointRequest__Output } from '../proto/gen/lastmile/v1/GetCheckpointRequest.ts';
import type { GetEntryRequest__Output } from '../proto/gen/lastmile/v1/GetEntryRequest.ts';
import type { GetProofRequest__Output } from '../proto/gen/lastmile/v1/GetProofRequest.ts';
import type { QueryRequest__Output } from '../proto/gen/lastmile/v1/QueryRequest.ts';
import type { ReadTileRequest__Output } from '../proto/gen/lastmile/v1/ReadTileRequest.ts';
import { bounded, type OperatorMethods } from './operator-methods.ts';

/** The log as auditors read it. */
export interface PublishedLog {
  readonly size: number;
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

export interface AuditServices {
  readonly audit: PublishedLog;
  readonly verifierKey: () => string;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/** Audit: entries within the scope of the caller's role, each look on record first, and what proves them. */
export function serveAudit({ serve, look }: OperatorMethods, services: AuditServices): void {
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

function instant(text: string): string {
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new Failure('REQUEST_INVALID', 'times are RFC 3339, such as 2026-11-21T08:00:00Z');
  return new Date(time).toISOString();
}
