import { type AuditServices, type PublishedLog, serveAudit } from './audit-service.ts';
import { describeClock, type OperatorClock, serveClock } from './clock-service.ts';
import { type FreezeServices, serveFreezes } from './freeze-service.ts';
import { type KeyServices, serveKeys } from './key-service.ts';
import type { Handler } from './key-use-service.ts';
import { type OperatorMethodsServices, operatorMethods, type RecordingLog } from './operator-methods.ts';
import { type PolicyVersions, servePolicies } from './policy-service.ts';
import { describeTokens, serveTokens, type TokenServices } from './token-service.ts';

/** The log as operators and auditors use it. */
export interface ReadableLog extends RecordingLog, PublishedLog {}

/** What all of Admin and Audit needs; each area says what of it. */
export interface OperatorServices
  extends OperatorMethodsServices,
    KeyServices,
    TokenServices,
    FreezeServices,
    AuditServices {
  readonly audit: ReadableLog;
  /** GetStatusResponse, but for what is known here. */
  readonly status: () => Promise<object>;
  readonly policies: () => PolicyVersions;
  readonly clock: OperatorClock;
}

/**
 * Admin and Audit: the same default deny as key use, by `roles`. Whoever may not call a method learns nothing else;
 * every call that changes something, and every look into the log, is an entry before it is answered.
 */
export function operatorHandlers(services: OperatorServices): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>();
  const methods = operatorMethods(services, handlers);
  methods.serve('Admin', 'GetStatus', async () => ({
    ...(await services.status()),
    clock: describeClock(services.clock),
    tokens: describeTokens(services),
    freezes: services.freezes.list(),
  }));
  serveKeys(methods, services);
  serveTokens(methods, services);
  serveFreezes(methods, services);
  servePolicies(methods, services.policies, services);
  serveClock(methods, services.clock);
  serveAudit(methods, services);
  return handlers;
}
