import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SvidFiles } from '../../broker/client/svid.ts';
import {
  type ConnectOptions,
  Transport,
  type TransportSeams,
  type UnaryMethod,
} from '../../broker/client/transport.ts';
import { codec } from '../../broker/proto/codec.ts';
import type { GenerateRandomRequest } from '../../broker/proto/gen/lastmile/v1/GenerateRandomRequest.ts';
import type { GenerateRandomResponse__Output } from '../../broker/proto/gen/lastmile/v1/GenerateRandomResponse.ts';
import { FakeBroker } from './fake-broker.ts';
import { type SvidIssuer, writeSvidFiles } from './svid-files.ts';

export const BROKER = 'spiffe://example.org/lastmile/broker';
export const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';
const RANDOM: UnaryMethod<GenerateRandomRequest, GenerateRandomResponse__Output> = {
  path: '/lastmile.v1.KeyUse/GenerateRandom',
  request: codec('lastmile.v1.GenerateRandomRequest'),
  response: codec('lastmile.v1.GenerateRandomResponse'),
};
/** What the broker answers to `random`. */
export const OK = { random: Buffer.from('abcd'), log: { origin: 'o', leafIndex: 1 } };

/** The call that tests of the transport make. */
export const random = (t: Transport, options = {}): Promise<GenerateRandomResponse__Output> =>
  t.unary(RANDOM, { length: 4 }, options);

/** A workload with its SVID on disk, and a fake broker that answers `random`; a test puts others in their place. */
export class TransportFixture {
  readonly directory: string;
  files: SvidFiles;
  broker: FakeBroker;
  #transport: Transport | undefined;

  private constructor(directory: string, files: SvidFiles, broker: FakeBroker) {
    this.directory = directory;
    this.files = files;
    this.broker = broker;
  }

  static async start(issuer: SvidIssuer): Promise<TransportFixture> {
    const directory = mkdtempSync(join(tmpdir(), 'transport-'));
    const files = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    const broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate);
    broker.answers.set('GenerateRandom', () => OK);
    return new TransportFixture(directory, files, broker);
  }

  async open(options: Partial<ConnectOptions> = {}, seams: TransportSeams = {}): Promise<Transport> {
    this.#transport = await Transport.open(
      { target: options.target ?? this.broker.target, brokerId: BROKER, svid: this.files, ...options },
      4 << 20,
      { backoff: () => 1, ...seams },
    );
    return this.#transport;
  }

  async stop(): Promise<void> {
    this.#transport?.close();
    await this.broker.stop();
    rmSync(this.directory, { recursive: true });
  }
}
