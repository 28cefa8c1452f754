import {
  type OperatorServices,
  operatorHandlers,
  type ReadableLog,
} from '../../broker/api/operator-service.ts';
import type { Call, Caller } from '../../broker/keyuse/call.ts';
import { codec } from '../../broker/proto/codec.ts';
import { callerOf, callFor, type KeyUseFixture } from './key-use-fixture.ts';

/** The operator that policies of these tests name. */
export const ALICE = 'spiffe://example.org/human/alice';

/** What operators are served with, over the tokens and the log of a fixture; policies are what a test is about, or not asked for. */
export function operatorServicesOf(
  fixture: KeyUseFixture,
  others: Partial<OperatorServices> = {},
): OperatorServices {
  const { log: audit, ...parts } = fixture;
  const named = (name: string) => fixture.tokens.find((token) => token.name === name)!;
  return {
    ...parts,
    keyUse: fixture.keyUse,
    policy: () => fixture.policy,
    trustDomains: ['example.org'],
    encryptionsReserved: () => 0,
    audit: audit as unknown as ReadableLog,
    generation: () => 7,
    verifierKey: () => '',
    status: async () => ({}),
    unblockToken: async () => undefined,
    drainToken: (name) => {
      named(name).drain();
      return named(name).inFlight;
    },
    undrainToken: (name) => named(name).undrain(),
    tokenLoad: (token) => fixture.pool.load(token),
    policies: () => {
      throw new Error('not asked here');
    },
    clock: { now: () => Date.now(), doubtMs: () => 0, accept: () => undefined },
    ...others,
  };
}

/** A call of `lastmile.v1.Admin`, by `ALICE` unless told otherwise: encoded, handled, decoded. */
export async function callAdmin(
  services: OperatorServices,
  method: string,
  request: object,
  { caller = callerOf(ALICE), call = callFor() }: { caller?: Caller; call?: Call } = {},
): Promise<object> {
  const handler = operatorHandlers(services).get(`/lastmile.v1.Admin/${method}`)!;
  const bytes = codec<object, object>(`lastmile.v1.${method}Request`).encode(request);
  return codec<object, object>(`lastmile.v1.${method}Response`).decode(await handler(caller, call, bytes));
}
