import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeBroker, refusal, statusMessage } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer, writeSvidFiles } from '../../test/fakes/svid-files.ts';
import { SignStream } from './sign-stream.ts';
import type { SvidFiles } from './svid.ts';
import { Transport, type TransportSeams } from './transport.ts';

const BROKER = 'spiffe://example.org/lastmile/broker';
const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';

interface StreamRequest {
  requestId: string;
  sign: { key: string; message: Buffer };
  timeoutMs: number;
}
type Stream = ServerDuplexStream<Record<string, unknown>, Record<string, unknown>>;

let issuer: SvidIssuer;
let directory: string;
let files: SvidFiles;
let broker: FakeBroker;
let transport: Transport;
/** Requests as they came, with the stream to answer on. */
let received: { request: StreamRequest; stream: Stream }[];
let arrivals: (() => void)[];

beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sign-stream-'));
  files = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
  broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate);
  received = [];
  arrivals = [];
  broker.signStream = (stream) => {
    stream.on('data', (request: unknown) => {
      received.push({ request: request as StreamRequest, stream });
      for (const arrive of arrivals.splice(0)) arrive();
    });
    stream.on('end', () => stream.end());
    // A client that hangs up is not this test's failure.
    stream.on('error', () => stream.destroy());
  };
});
afterEach(async () => {
  transport.close();
  await broker.stop();
  rmSync(directory, { recursive: true });
});

async function open(maxInFlight: number = 256, seams: TransportSeams = {}): Promise<SignStream> {
  transport = await Transport.open({ target: broker.target, brokerId: BROKER, svid: files }, 4 << 20, {
    backoff: () => 1,
    ...seams,
  });
  return new SignStream(transport, maxInFlight);
}

async function arrived(count: number): Promise<void> {
  while (received.length < count) await new Promise<void>((resolve) => arrivals.push(resolve));
}

function sign(stream: SignStream, text: string, options = {}): Promise<string> {
  return stream
    .sign({ key: 'k', algorithm: 'ES256', message: Buffer.from(text), content: 'message' }, options)
    .then((signed) => signed.signature.toString());
}

function answer(index: number): void {
  const { request, stream } = received[index]!;
  stream.write({
    requestId: request.requestId,
    signed: {
      signature: Buffer.from(`signed ${request.sign.message}`),
      version: 1,
      log: { origin: 'o', leafIndex: 1 },
    },
  });
}

function refuse(index: number, reason: string, performed: string): void {
  const { request, stream } = received[index]!;
  stream.write({ requestId: request.requestId, error: statusMessage(reason, 'refused', { performed }) });
}

describe('SignStream', () => {
  it('matches answers that come in any order, over one connection', async () => {
    const stream = await open();
    const all = ['a', 'b', 'c'].map((text) => sign(stream, text));
    await arrived(3);
    for (const index of [2, 0, 1]) answer(index);
    expect(await Promise.all(all)).toEqual(['signed a', 'signed b', 'signed c']);
    expect(broker.accepted).toHaveLength(1);
    await stream.end();
  });

  it('refuses one without ending the others', async () => {
    const stream = await open();
    const refused = sign(stream, 'a');
    const fine = sign(stream, 'b');
    await arrived(2);
    refuse(0, 'POLICY_DENIED', 'no');
    await expect(refused).rejects.toMatchObject({ reason: 'POLICY_DENIED', code: 'PERMISSION_DENIED' });
    answer(1);
    await expect(fine).resolves.toBe('signed b');
  });

  it('asks again what was not performed, and not what may have been', async () => {
    const stream = await open();
    const busy = sign(stream, 'a');
    await arrived(1);
    refuse(0, 'BUSY', 'no');
    await arrived(2);
    answer(1);
    await expect(busy).resolves.toBe('signed a');
    const lost = sign(stream, 'b');
    await arrived(3);
    refuse(2, 'TOKEN_UNREACHABLE', 'unknown');
    await expect(lost).rejects.toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    expect(received).toHaveLength(3);
  });

  it('never has more than maxInFlight with the broker, and serves the rest in order', async () => {
    const stream = await open(2);
    const all = ['a', 'b', 'c', 'd'].map((text) => sign(stream, text));
    await arrived(2);
    for (let index = 0; index < 4; index++) {
      await arrived(Math.min(4, index + 2));
      expect(received.length).toBeLessThanOrEqual(index + 2);
      answer(index);
    }
    expect(await Promise.all(all)).toEqual(['signed a', 'signed b', 'signed c', 'signed d']);
    expect(received.map(({ request }) => request.sign.message.toString())).toEqual(['a', 'b', 'c', 'd']);
  });

  it('gives a turn that nobody wants any more to the next', async () => {
    const stream = await open(1);
    const abort = new AbortController();
    const first = sign(stream, 'a');
    const given = sign(stream, 'b', { signal: abort.signal });
    const third = sign(stream, 'c');
    await arrived(1);
    abort.abort();
    await expect(given).rejects.toMatchObject({ reason: 'CANCELLED', performed: 'no' });
    answer(0);
    await arrived(2);
    answer(1);
    expect(await Promise.all([first, third])).toEqual(['signed a', 'signed c']);
  });

  it('tells the broker the deadline of each, and gives up alone at it', async () => {
    const stream = await open();
    const late = sign(stream, 'a', { deadlineMs: 300 });
    const fine = sign(stream, 'b', { deadlineMs: 20_000 });
    await arrived(2);
    expect(received[0]!.request.timeoutMs).toBeLessThanOrEqual(300);
    expect(received[1]!.request.timeoutMs).toBeGreaterThan(10_000);
    await expect(late).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'unknown' });
    answer(0);
    answer(1);
    await expect(fine).resolves.toBe('signed b');
  });

  it('rejects what was in flight when the stream breaks, and opens another for the next', async () => {
    const stream = await open();
    const lost = sign(stream, 'a');
    await arrived(1);
    broker.cut();
    await expect(lost).rejects.toMatchObject({ reason: 'CONNECTION_LOST', performed: 'unknown' });
    const next = sign(stream, 'b');
    await arrived(2);
    answer(1);
    await expect(next).resolves.toBe('signed b');
  });

  it('does not believe a status of the whole stream that single requests were not performed', async () => {
    const stream = await open();
    const lost = sign(stream, 'a');
    await arrived(1);
    received[0]!.stream.emit('error', refusal('BUSY', 'no'));
    await expect(lost).rejects.toMatchObject({ reason: 'BUSY', performed: 'unknown' });
  });

  it('goes over a new connection when the SVID is renewed, while the old one drains', async () => {
    let now = 0;
    const stream = await open(256, { now: () => now });
    const old = sign(stream, 'a');
    await arrived(1);
    writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    now = 1000;
    // The look at the files runs beside the call that makes it; from the next on its result is used.
    await sign(stream, 'b', { deadlineMs: 1 }).catch((error: unknown) =>
      expect(error).toMatchObject({ reason: 'DEADLINE_EXCEEDED' }),
    );
    for (let index = received.length; new Set(broker.acceptedSerials).size < 2; index = received.length) {
      const renewed = sign(stream, 'c');
      await arrived(index + 1);
      answer(index);
      await renewed;
    }
    answer(0);
    await expect(old).resolves.toBe('signed a');
    await stream.end();
  });

  it('ends after what is in flight, and takes no more', async () => {
    const stream = await open();
    const last = sign(stream, 'a');
    await arrived(1);
    const ended = stream.end();
    await expect(sign(stream, 'b')).rejects.toMatchObject({ reason: 'CLIENT_CLOSED', performed: 'no' });
    answer(0);
    await expect(last).resolves.toBe('signed a');
    await ended;
  });

  it('ends at once when it was never used', async () => {
    const stream = await open();
    await stream.end();
    expect(broker.handshakes).toBe(0);
  });
});
