import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Destination } from '../../../broker/courier/courier-frames.ts';
import { createTestPki } from '../../fakes/pki.ts';
import { brokerSvid } from '../gateway/edge.ts';
import type { Received } from './receiver.ts';
import { courierPlace, notice, SECRET } from './told.ts';

let place: ReturnType<typeof courierPlace>;

beforeEach(() => {
  place = courierPlace();
});
afterEach(async () => {
  await place.end();
  await place.remove();
});

/** The recipe of broker/courier/README.md, run as it is written there. */
function accepts(received: Pick<Received, 'headers' | 'body'>, secret = SECRET, laterSeconds = 0): boolean {
  const readme = readFileSync(
    fileURLToPath(new URL('../../../broker/courier/README.md', import.meta.url)),
    'utf8',
  );
  const recipe = /```python\n([\s\S]*?)```/.exec(readme)?.[1];
  if (recipe === undefined) throw new Error('README.md has no recipe');
  const program = `${recipe}
import json
given = json.load(sys.stdin)
print(verify(given["secret"].encode(), given["headers"], given["body"].encode(), time.time() + given["later"]))`;
  const input = JSON.stringify({
    secret,
    headers: received.headers,
    body: received.body,
    later: laterSeconds,
  });
  return execFileSync('python3', ['-c', program], { input, encoding: 'utf8' }).trim() === 'True';
}

describe('a webhook', () => {
  test('is told what happened, signed so that a receiver can tell it from forgeries', async () => {
    const chat = await place.receiver();
    const { tell } = place.start([place.webhook(chat.url)]);
    tell(notice('a1.opened'));
    await chat.until((received) => received.length === 1);
    const [received] = chat.received;
    if (received === undefined) throw new Error('nothing came');
    expect(JSON.parse(received.body)).toEqual(notice('a1.opened'));
    expect(received.headers['webhook-id']).toBe('a1.opened');
    expect(accepts(received)).toBe(true);

    expect(accepts({ ...received, body: received.body.replace('treasury', 'treasurx') })).toBe(false);
    expect(accepts(received, 'another secret of 24 bytes')).toBe(false);
    expect(accepts(received, SECRET, 301)).toBe(false);
    for (const [name, value] of [
      ['webhook-id', 'a2.opened'],
      ['webhook-timestamp', String(Number(received.headers['webhook-timestamp']) + 1)],
      ['webhook-signature', 'v1,AAAA'],
    ] as const) {
      expect([name, accepts({ ...received, headers: { ...received.headers, [name]: value } })]).toEqual([
        name,
        false,
      ]);
    }
  });

  test('is signed with each secret of its file, so that one can be replaced', async () => {
    const chat = await place.receiver();
    const next = Buffer.from('the next secret, of 24 bytes and more');
    writeFileSync(place.secretFile, `whsec_${next.toString('base64')}\n${SECRET}\n`, { mode: 0o600 });
    const { tell } = place.start([place.webhook(chat.url)]);
    tell(notice('a1.opened'));
    await chat.until((received) => received.length === 1);
    const [received] = chat.received;
    if (received === undefined) throw new Error('nothing came');
    expect([accepts(received), accepts(received, next.toString())]).toEqual([true, true]);
  });

  test('is reached by TLS alone that it proves itself with', async () => {
    const pki = await createTestPki({ trustDomain: 'example.org' });
    const { certificatePem: cert, keyPem: key } = await brokerSvid(pki);
    const caFile = join(place.directory, 'ca.pem');
    writeFileSync(caFile, pki.rootPem);
    const chat = await place.receiver({ tls: { cert, key } });
    const { tell, outcomes, until } = place.start([
      place.webhook(chat.url, { name: 'trusted', caFile }),
      place.webhook(chat.url, { name: 'untrusted' }),
    ]);
    tell(notice('a1.opened'));
    await until(() => outcomes.some(({ what }) => what === 'failed') && chat.received.length === 1);
    expect(outcomes.filter(({ destination }) => destination === 'untrusted')[0]).toMatchObject({
      what: 'failed',
      why: expect.stringMatching(/^[A-Z_]*CERT[A-Z_]*$|^UNABLE_[A-Z_]+$/),
    });
    expect(chat.received.length).toBe(1);
  });

  test('gets the events that it wants, and others what they want', async () => {
    const [chat, pager] = [await place.receiver(), await place.receiver()];
    const { tell } = place.start([
      place.webhook(chat.url, { events: ['approval.opened'] }),
      place.webhook(pager.url, { name: 'pager', events: ['emergency.used'] }),
    ]);
    tell(notice('a1.opened'));
    tell(notice('a1.used', { type: 'emergency.used' }));
    tell(notice('a1.rejected', { type: 'approval.rejected' }));
    tell(notice('a2.opened'));
    await chat.until((received) => received.length === 2);
    await pager.until((received) => received.length === 1);
    expect(chat.received.map((received) => received.notice.type)).toEqual([
      'approval.opened',
      'approval.opened',
    ]);
    expect(pager.received.map((received) => received.notice.id)).toEqual(['a1.used']);
  });

  test('that leads elsewhere is not followed', async () => {
    const [elsewhere, chat] = [await place.receiver(), await place.receiver()];
    chat.answer = () => ({ status: 307, headers: { location: elsewhere.url } });
    const { tell, outcomes, until } = place.start([place.webhook(chat.url)]);
    tell(notice('a1.opened'));
    await until(() => outcomes.length >= 2);
    expect(outcomes[0]).toMatchObject({ what: 'failed', why: 'status 307' });
    expect(elsewhere.received).toEqual([]);
  });
});

describe('a hook', () => {
  function hook(script: string, changes: Partial<Extract<Destination, { kind: 'hook' }>> = {}): Destination {
    const program = join(place.directory, 'hook');
    writeFileSync(program, `#!/bin/sh\n${script}\n`);
    chmodSync(program, 0o755);
    chmodSync(place.directory, 0o755);
    return {
      kind: 'hook',
      name: 'pager',
      events: ['approval.opened'],
      command: [program, '--fixed', '$(id) ; touch /tmp/x'],
      timeoutMs: 5_000,
      ...changes,
    };
  }

  test('gets fixed arguments, JSON on standard input, and nothing else of the broker', async () => {
    const chat = await place.receiver();
    const out = join(place.directory, 'out');
    writeFileSync(out, '');
    chmodSync(out, 0o666);
    const { tell, outcomes, until } = place.start([
      hook(`{ printf '%s\\n' "$@"; cat; env | sort; id -u; ls /proc/self/fd | wc -w; } > ${out}`),
      place.webhook(chat.url),
    ]);
    tell(notice('a1.opened', { data: { key: '"; rm -rf / #$(reboot)' } }));
    await until(() => outcomes.some(({ destination }) => destination === 'pager'));
    const [first, second, json = '', ...rest] = readFileSync(out, 'utf8').trim().split('\n');
    expect([first, second]).toEqual(['--fixed', '$(id) ; touch /tmp/x']);
    expect(JSON.parse(json)).toMatchObject({ id: 'a1.opened', data: { key: '"; rm -rf / #$(reboot)' } });
    const environment = rest.filter((line) => line.includes('=')).map((line) => line.split('=')[0] ?? '');
    expect(environment.filter((name) => !['PATH', 'PWD', '_', 'SHLVL', 'OLDPWD'].includes(name))).toEqual([]);
    expect(outcomes.find(({ destination }) => destination === 'pager')).toMatchObject({ what: 'delivered' });
  });

  test('that fails is tried again, and one that hangs is ended', async () => {
    const failing = place.start([hook('exit 3')]);
    failing.tell(notice('a1.opened'));
    await failing.until(() => failing.outcomes.length >= 2);
    expect(failing.outcomes[1]).toMatchObject({ what: 'failed', attempts: 2, why: 'exit code 3' });
    await place.end();
    const hanging = place.start([hook('sleep 1000', { timeoutMs: 200 })]);
    await hanging.until(() => hanging.outcomes.some(({ why }) => why === 'did not end in time'));
  });

  test('that does not exist is told to the operator, and harms nobody else', async () => {
    const chat = await place.receiver();
    const { tell, outcomes, until } = place.start([
      { ...hook(''), command: ['/nowhere/at-all'] } as Destination,
      place.webhook(chat.url),
    ]);
    tell(notice('a1.opened'));
    await chat.until((received) => received.length === 1);
    await until(() => outcomes.some(({ why }) => why === 'cannot be started (exit code 127)'));
  });
});

describe('the courier', () => {
  test('says which destination has no secret, and not what is in the file', async () => {
    writeFileSync(place.secretFile, 'short-secret\n');
    const { log, until } = place.start([place.webhook('http://127.0.0.1:1/')]);
    await until(() => log.some((line) => line.includes('cannot work')));
    const line = log.find((candidate) => candidate.includes('cannot work')) ?? '';
    expect(line).toContain('destination chat');
    expect(line).toContain('less than 24 bytes');
    expect(log.join()).not.toContain('short-secret');
  });

  test('leaves an empty queue behind what it has delivered, which nobody else can read', async () => {
    const chat = await place.receiver();
    const { tell, courier, outcomes, until } = place.start([place.webhook(chat.url)]);
    for (let i = 0; i < 20; i++) tell(notice(`a${i}.opened`));
    await until(() => outcomes.filter(({ what }) => what === 'delivered').length === 20);
    expect(readdirSync(place.queueDirectory)).toEqual([]);
    expect(new Set(chat.received.map((received) => received.notice.id)).size).toBe(20);
    expect(courier.status()).toMatchObject({ queued: 0, untaken: 0, lost: 0, isReady: true });
  });

  test.runIf(process.getuid?.() === 0)('runs as a user of its own', async () => {
    const { courier, log, until } = place.start([place.webhook('http://127.0.0.1:1/')]);
    await until(() => log.some((line) => line.includes('courier ready')));
    const { pid, uid } = courier.status();
    expect(uid).toBe(64_002);
    const ids = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    expect(ids?.split(/\s+/)).toEqual(['64002', '64002', '64002', '64002']);
  });
});
