import { afterEach, describe, expect, it } from 'vitest';
import { createTestPki } from '../../fakes/pki.ts';
import { call, connect, type FakeBroker, method, openStream, startFakeBroker, workloadSvid } from './edge.ts';

const running: FakeBroker[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((broker) => broker.stop()));
});

async function start(...options: Parameters<typeof startFakeBroker>): Promise<FakeBroker> {
  const broker = await startFakeBroker(...options);
  running.push(broker);
  return broker;
}

describe('a gateway process', () => {
  it('that dies cancels what it asked for, closes its connections, and comes back on the same port', async () => {
    const broker = await start();
    broker.answer = () => undefined;
    const svid = await workloadSvid(broker.pki);
    const client = connect(broker, svid);
    const pending = call(client, method('Sign').path, Buffer.from('x'));
    await broker.until(() => broker.requests.length === 1);
    const { request, reply } = broker.requests[0]!;
    const { pid } = broker.gateway.processes()[0]!;
    process.kill(pid!, 'SIGKILL');
    expect(await pending).toMatchObject({ error: { code: 14 } });
    await broker.until(() => broker.closed.includes(request.connection) && broker.cancelled.includes(reply));

    await broker.until(() => broker.log.filter((line) => line === 'listening').length === 2);
    broker.answer = (again, answer) => answer.ok(again.payload);
    // The dead process's answer must not reach a request of its successor that has the same number.
    reply.ok(Buffer.from('of the dead'));
    const second = connect(broker, svid);
    expect(await call(second, method('Sign').path, Buffer.from('back'))).toEqual({ ok: Buffer.from('back') });
    expect(broker.requests.at(-1)!.request.connection).not.toBe(request.connection);
    expect(broker.gateway.processes()[0]).toMatchObject({ restarts: 1, isListening: true });
    client.close();
    second.close();
  });

  it('shares its port with others of its kind', async () => {
    const broker = await start({}, 2);
    expect(new Set(broker.gateway.processes().map(({ pid }) => pid)).size).toBe(2);
    const svid = await workloadSvid(broker.pki);
    const clients = Array.from({ length: 16 }, () => connect(broker, svid));
    for (const client of clients) {
      expect(await call(client, method('Sign').path, Buffer.from('x'))).toEqual({ ok: Buffer.from('x') });
    }
    expect(new Set(broker.opened.keys()).size).toBe(16);
    for (const client of clients) client.close();
  });

  it.each([1, 2])('does not take a port that another broker has (%i sharing)', async (count) => {
    const first = await start({}, count);
    await expect(startFakeBroker({ port: first.gateway.port }, count)).rejects.toThrow(
      `127.0.0.1:${first.gateway.port} is in use`,
    );
  });

  it('of the operators’ role serves Admin and Audit, and no key use', async () => {
    const broker = await start({ role: 'control' });
    const client = connect(broker, await workloadSvid(broker.pki));
    for (const name of ['GetStatus', 'Query']) {
      expect(await call(client, method(name).path, Buffer.from('x'))).toEqual({ ok: Buffer.from('x') });
    }
    for (const name of ['Sign', 'Decrypt']) {
      expect(await call(client, method(name).path, Buffer.from('x'))).toMatchObject({ error: { code: 12 } });
    }
    client.close();
  });

  it('drains: finishes what was begun, takes no more, and exits', async () => {
    const broker = await start();
    broker.answer = () => undefined;
    const client = connect(broker, await workloadSvid(broker.pki));
    const begun = call(client, method('Sign').path, Buffer.from('x'));
    const stream = openStream(client);
    const ended = new Promise<{ code: number }>((resolve) => stream.on('status', resolve));
    stream.on('error', () => undefined);
    const answers: Buffer[] = [];
    stream.on('data', (bytes: Buffer) => answers.push(bytes));
    stream.write(Buffer.from('in the stream'));
    await broker.until(() => broker.requests.length === 2);
    const drained = broker.gateway.drain();
    for (const { reply, payload } of broker.requests) reply.ok(payload);
    expect(await begun).toEqual({ ok: Buffer.from('x') });
    expect((await ended).code).toBe(8);
    expect(answers).toEqual([Buffer.from('in the stream')]);
    await drained;
    expect(broker.gateway.processes()[0]!.pid).toBeUndefined();
    expect(broker.cancelled).toEqual([]);
    expect(await call(client, method('Sign').path, Buffer.from('x'), 500)).toHaveProperty('error');
    client.close();
  });

  it('gives two workloads behind one address connections of their own', async () => {
    const pki = await createTestPki({ trustDomain: 'example.org' });
    const broker = await start({}, 1, pki);
    const clients = await Promise.all(
      ['ns/a', 'ns/b'].map(async (path) => connect(broker, await workloadSvid(pki, path))),
    );
    for (const client of clients) await call(client, method('Sign').path, Buffer.from('x'));
    const seen = broker.requests.map(({ request }) =>
      broker.opened.get(request.connection)!.chain[0]!.toString('hex'),
    );
    expect(new Set(seen).size).toBe(2);
    for (const client of clients) client.close();
  });
});
