import { codec } from '../proto/codec.ts';
import { Unreadable } from './messages.ts';

/** What a probe is told about: services by their full names. */
export interface Serving {
  /** Key use: entries can be written, and some token serves. */
  readonly keyUse: boolean;
}

// As in grpc.health.v1.HealthCheckResponse.ServingStatus.
const SERVING = 1;
const NOT_SERVING = 2;

/** The overall status is that of key use: it is what the broker is there for. */
const KEY_USE = ['', 'lastmile.v1.KeyUse'];
/** Whoever is answered at all is answered by these: they go on while the log cannot be written and tokens are away. */
const OPERATORS = ['lastmile.v1.Admin', 'lastmile.v1.Audit'];

const request = codec<object, { readonly service: string }>('grpc.health.v1.HealthCheckRequest');
const response = codec<{ readonly status: number }, object>('grpc.health.v1.HealthCheckResponse');

/**
 * grpc.health.v1 `Check`. Tells nobody anything about a key, needs no role and leaves no entry: a probe of every second would
 * be most of the log.
 *
 * @returns undefined for a service that is not one of ours
 * @throws Unreadable
 */
export function checkHealth(serving: Serving, payload: Uint8Array): Uint8Array | undefined {
  let service: string;
  try {
    ({ service } = request.decode(payload));
  } catch (cause) {
    throw new Unreadable(cause);
  }
  if (KEY_USE.includes(service)) return response.encode({ status: serving.keyUse ? SERVING : NOT_SERVING });
  if (OPERATORS.includes(service)) return response.encode({ status: SERVING });
  return undefined;
}
