import type { MethodDecision, PolicySet } from '../../policy/decision.ts';
import { AuditError, type EntryValue } from '../audit/entry.ts';
import type { Call, Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import type { KeyUse } from '../keyuse/key-use.ts';
import type { AdminMethod, AuditMethod } from '../proto/methods.ts';
import type { Handler } from './key-use-service.ts';
import { message, reply } from './messages.ts';
import { asFailure } from './status.ts';

/** The log as it takes what operators do. */
export interface RecordingLog {
  readonly origin: string;
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
  appendRefusal(draft: Parameters<RecordingLog['append']>[0]): Promise<unknown>;
}

export interface OperatorMethodsServices {
  readonly policy: () => PolicySet;
  readonly keyUse: Pick<KeyUse, 'identify'>;
  readonly audit: RecordingLog;
  readonly generation: () => number;
}

/** A call that the policy allows. */
export interface Permission {
  readonly decision: MethodDecision;
  readonly caller: Caller;
  readonly method: string;
}

type Detail = { readonly [name: string]: EntryValue | undefined };
/** Adds to the detail of the entry that says how a change ended. */
export type Note = (more: { readonly [name: string]: EntryValue }) => void;

/** How methods of Admin and Audit are served, whatever they do. */
export interface OperatorMethods {
  /** Serves one method to whom the policy allows it. Whoever it does not learns nothing else. */
  serve<In>(
    service: 'Admin' | 'Audit',
    name: AdminMethod | AuditMethod,
    run: (request: In, permission: Permission, call: Call) => Promise<object> | object,
  ): void;
  /**
   * Runs a change between two entries: that it is begun, before it is, and how it ended, before the caller hears of
   * it. The second names the first (`begun`), and has what `run` noted. A freeze has the second alone: it comes before
   * everything, a log that cannot be written included.
   */
  change<T>(
    permission: Permission,
    detail: Detail,
    run: (note: Note) => T | Promise<T>,
    more?: { key?: string; kind?: 'freeze' | 'unfreeze' | 'token' },
  ): Promise<{ readonly value: T; readonly leafIndex: number }>;
  /** Puts a look into the log on record, to be awaited before anything of it is answered. */
  look(permission: Permission, detail: Detail): Promise<void>;
  /** LogPosition of the contract: where an entry is. */
  position(leafIndex: number): object;
}

const MAX_REASON_BYTES = 256;

/**
 * The one way into Admin and Audit: the same default deny as key use, by `roles`, and the entries around what is done.
 * Owns nothing but what it puts into `handlers`, by gRPC path.
 */
export function operatorMethods(
  services: OperatorMethodsServices,
  handlers: Map<string, Handler>,
): OperatorMethods {
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

  async function change<T>(
    permission: Permission,
    detail: Detail,
    run: (note: Note) => T | Promise<T>,
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

  async function look(permission: Permission, detail: Detail): Promise<void> {
    await services.audit.append({ ...entryOf(permission), performed: 'yes', detail });
  }

  function serve<In>(
    service: 'Admin' | 'Audit',
    name: AdminMethod | AuditMethod,
    run: (request: In, permission: Permission, call: Call) => Promise<object> | object,
  ): void {
    const request = message<In>(`${name}Request`);
    const response = reply(`${name}Response`);
    handlers.set(`/lastmile.v1.${service}/${name}`, async (caller, call, payload) => {
      const permission = await permit(caller, call, `${service}.${name}`);
      return response(await run(request.decode(payload), permission, call));
    });
  }

  const position = (leafIndex: number): object => ({ origin: services.audit.origin, leafIndex });

  return { serve, change, look, position };
}

/** What callers wrote, as an entry has room for it. */
export function bounded(text: string): string {
  return Buffer.byteLength(text) <= MAX_REASON_BYTES ? text : `${text.slice(0, 200)}…`;
}

/** What an operator changes, the log says why. @throws Failure when nobody said */
export function requireReason(reason: string): void {
  if (reason.trim() === '')
    throw new Failure('REQUEST_INVALID', 'a reason is required: it goes into the log');
}
