import type { TokenKeys } from '../keyuse/token-keys.ts';
import type { TokenLoad } from '../keyuse/token-pool.ts';
import type { DrainTokenRequest__Output } from '../proto/gen/lastmile/v1/DrainTokenRequest.ts';
import type { UnblockTokenRequest__Output } from '../proto/gen/lastmile/v1/UnblockTokenRequest.ts';
import type { UndrainTokenRequest__Output } from '../proto/gen/lastmile/v1/UndrainTokenRequest.ts';
import { bounded, type OperatorMethods, requireReason } from './operator-methods.ts';

export interface TokenServices {
  readonly keys: TokenKeys;
  readonly unblockToken: (name: string) => Promise<void>;
  /** Durable before it returns; to how many operations the token still has. */
  readonly drainToken: (name: string) => number;
  readonly undrainToken: (name: string) => void;
  readonly tokenLoad: (token: TokenKeys['tokens'][number]) => TokenLoad;
}

/** Admin's methods on tokens: how they are, trying a login again, and taking one out of service for a time. */
export function serveTokens({ serve, change, position }: OperatorMethods, services: TokenServices): void {
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
}

/** Each a TokenStatus of admin.proto. */
export function describeTokens({ keys, tokenLoad }: Pick<TokenServices, 'keys' | 'tokenLoad'>): object[] {
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
