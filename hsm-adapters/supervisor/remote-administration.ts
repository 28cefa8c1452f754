import type { TokenAdministration } from '../adapter.ts';
import type { AdministrationRequest } from '../frames/worker-frames.ts';
import type { Decode } from './request-table.ts';
import { readNothing, readObjectAttributes, readReplicas, readTransport } from './worker-messages.ts';

/** Sends one request to the worker that serves now; rejects when none does. */
export type Administer = <T>(request: AdministrationRequest, decode: Decode<T>) => Promise<T>;

/**
 * Key administration, spoken over the worker's pipe. `release` may be called at any time: with no worker there, the
 * reference is void already. `reportLost` hears of a release that could not be made.
 */
export function remoteAdministration(
  administer: Administer,
  reportLost: (error: unknown) => void,
): TokenAdministration {
  return {
    bind: (ref, query) => administer({ op: 'bind', ref, query }, readObjectAttributes),
    release: (ref) => {
      administer({ op: 'release', ref }, readNothing).catch(reportLost);
    },
    generate: (object) => administer({ op: 'generate', object }, readObjectAttributes),
    openReplicaTransport: () => administer({ op: 'open-replica-transport' }, readTransport),
    generateReplicated: (object, destinations) =>
      administer({ op: 'generate-replicated', object, destinations: destinations.map(base64) }, (payload) =>
        readReplicas(payload, destinations.length),
      ),
    receiveReplica: (transport, object, { wrappedKek, wrappedKey }) =>
      administer(
        {
          op: 'receive-replica',
          transport,
          object,
          wrappedKek: base64(wrappedKek),
          wrappedKey: base64(wrappedKey),
        },
        readObjectAttributes,
      ),
    closeReplicaTransport: (transport) =>
      administer({ op: 'close-replica-transport', transport }, readNothing),
    importWrapped: (request) => {
      const publicKey = request.publicKey === undefined ? undefined : base64(request.publicKey);
      return administer(
        { op: 'import-wrapped', request: { ...request, blob: base64(request.blob), publicKey } },
        readObjectAttributes,
      );
    },
    destroy: (query) => administer({ op: 'destroy', query }, readNothing),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
