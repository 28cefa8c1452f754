import type { PolicySet } from '../../policy/decision.ts';
import { parseSpiffeId, SpiffeIdError } from '../../policy/spiffe-id.ts';
import { Failure } from '../keyuse/failure.ts';
import { FREEZE_KINDS, type FreezeKind, type Freezes } from '../keyuse/freezes.ts';
import type { KeyCatalog } from '../keyuse/key-catalog.ts';
import type { TokenKeys } from '../keyuse/token-keys.ts';
import type { FreezeRequest__Output } from '../proto/gen/lastmile/v1/FreezeRequest.ts';
import { bounded, type OperatorMethods, requireReason } from './operator-methods.ts';

export interface FreezeServices {
  readonly policy: () => PolicySet;
  /** Whose workloads are served: a freeze of any other would freeze nothing. */
  readonly trustDomains: readonly string[];
  readonly catalog: KeyCatalog;
  readonly keys: TokenKeys;
  readonly freezes: Freezes;
}

/** Admin's kill switch: freezing, lifting a freeze, and what is frozen. */
export function serveFreezes({ serve, change, position }: OperatorMethods, services: FreezeServices): void {
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
}

function freezeKind(kind: string): FreezeKind {
  const found = FREEZE_KINDS.find((candidate) => candidate === kind);
  if (found === undefined)
    throw new Failure('REQUEST_INVALID', `kind must be one of ${FREEZE_KINDS.join(', ')}`);
  return found;
}

/** A typing error in a kill switch must not pass for a freeze. Returns the subject as key use asks for it. */
function freezeSubject(services: FreezeServices, kind: FreezeKind, subject: string): string {
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

function servedId(services: FreezeServices, text: string): ReturnType<typeof parseSpiffeId> {
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

function tokenNamed(services: FreezeServices, nameOrSerial: string) {
  const { tokens } = services.keys;
  return (
    tokens.find((token) => token.name === nameOrSerial) ??
    tokens.find((token) => token.info?.serial === nameOrSerial)
  );
}
