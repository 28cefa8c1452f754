import type { Client } from '@grpc/grpc-js';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RawAnswer, rawCall, status } from '../../fakes/instance-clients.ts';

/** More than the tokens take at a time, less than one connection may have open. */
const FILLING = 150;

export interface BusyTokens {
  /** Everything sent before over the same client has reached its place in the queue once this resolves. */
  arrived(): Promise<void>;
  /** The tokens go on. Resolves to what became of the work that kept them busy. */
  release(): Promise<readonly RawAnswer[]>;
}

/**
 * Holds every token worker, mid-work and with more waiting than it takes: whatever is sent now is queued in the
 * broker until `release`, and until then there is all the time to cancel, freeze or change something.
 */
export async function busyTokens(admin: OperatorClient, client: Client): Promise<BusyTokens> {
  const workers = (await status(admin)).processes.filter(({ role }) => role.startsWith('token worker'));
  for (const { pid } of workers) process.kill(pid, 'SIGSTOP');
  const arrived = async (): Promise<void> => {
    const { code, details } = await rawCall(client, '/lastmile.v1.KeyUse/ListKeys', Buffer.alloc(0));
    if (code !== 0) throw new Error(`ListKeys: ${details}`);
  };
  const { encode } = codec<object, object>('lastmile.v1.SignRequest');
  const filling = Promise.all(
    Array.from({ length: FILLING }, (_, i) =>
      rawCall(
        client,
        '/lastmile.v1.KeyUse/Sign',
        encode({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from(`filling ${i}`) }),
        20_000,
      ),
    ),
  );
  const release = (): Promise<readonly RawAnswer[]> => {
    for (const { pid } of workers) process.kill(pid, 'SIGCONT');
    return filling;
  };
  try {
    await arrived();
    const { tokens } = await status(admin);
    const inFlight = tokens.reduce((sum, token) => sum + token.inFlight, 0);
    if (inFlight === 0 || inFlight >= FILLING) throw new Error(`${inFlight} operations are with the tokens`);
  } catch (error) {
    await release();
    throw error;
  }
  return { arrived, release };
}
