import { request as httpsRequest } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { PageAnswer, PageCall } from '../../../broker/proto/page-calls.ts';
import { createTestPki, type TestPki } from '../../fakes/pki.ts';
import { brokerSvid, type FakeBroker, startFakeBroker } from './edge.ts';

const SECRET = 'A'.repeat(43);
let pki: TestPki;
let broker: FakeBroker;
let port: number;
let origin: string;
const calls: PageCall[] = [];
let answer: (call: PageCall) => Promise<PageAnswer>;
let gone = 0;

beforeAll(async () => {
  pki = await createTestPki({ trustDomain: 'example.org' });
  const { certificatePem: certificate, keyPem: key } = await brokerSvid(pki);
  broker = await startFakeBroker(
    {
      role: 'control',
      pages: { host: '127.0.0.1', port: 0, name: 'localhost' },
      tls: { certificate, key, trustBundle: [pki.rootPem], pages: { certificate, key } },
    },
    1,
    pki,
    {
      onPage: (call) => {
        calls.push(call);
        return answer(call);
      },
      onPagesGone: () => {
        gone += 1;
      },
    },
  );
  port = broker.gateway.pagesPort ?? 0;
  origin = `https://localhost:${port}`;
});
afterAll(() => broker.stop());
beforeEach(() => {
  calls.length = 0;
  answer = async () => ({ ok: true, body: { fine: true } });
});

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

function ask(
  path: string,
  options: {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | Buffer;
  } = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method: options.method ?? 'GET',
        headers: { host: `localhost:${port}`, ...options.headers },
        servername: 'localhost',
        ca: pki.rootPem,
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(options.body);
  });
}

const FETCH = (): Record<string, string> => ({
  origin,
  'content-type': 'application/json',
  'sec-fetch-site': 'same-origin',
});

function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Answered> {
  return ask(path, { method: 'POST', headers: { ...FETCH(), ...headers }, body });
}

describe('the pages', () => {
  test.each([
    ['/', 'text/html'],
    ['/enrol', 'text/html'],
    ['/pages.css', 'text/css'],
    ['/approvals.js', 'text/javascript'],
    ['/enrol.js', 'text/javascript'],
  ])('serve %s, under headers that let nothing else run', async (path, type) => {
    const { status, headers, body } = await ask(path);
    expect(status).toBe(200);
    expect(headers['content-type']).toContain(type);
    expect(body.length).toBeGreaterThan(100);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(body).not.toMatch(/<script>|\son[a-z]+=|style=/);
  });

  test('serve nothing else: no file of the broker, no directory, no other method', async () => {
    for (const path of ['/../../package.json', '/index.html', '/wire', '//', '/api/approvals', '/?x']) {
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
    }
    expect((await ask('/', { method: 'PUT' })).status).toBe(405);
    expect((await post('/api/Sign', '{}')).status).toBe(404);
    expect(calls).toEqual([]);
  });

  test('pass a call on unread, with its secret, and set a cookie that scripts and other sites cannot use', async () => {
    answer = async () => ({ ok: true, body: { approver: 'ann' }, signIn: SECRET });
    const { status, headers, body } = await post('/api/sign-in', '{"not": json', {
      cookie: `other=1; __Host-lastmile-sign-in=${SECRET}`,
    });
    expect(calls).toEqual([{ name: 'sign-in', peer: '127.0.0.1', signIn: SECRET, body: '{"not": json' }]);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ ok: true, body: { approver: 'ann' } });
    expect(headers['set-cookie']).toEqual([
      `__Host-lastmile-sign-in=${SECRET}; Path=/; Secure; HttpOnly; SameSite=Strict`,
    ]);
  });

  test('take no cookie that is malformed or comes twice', async () => {
    await post('/api/approvals', '{}', { cookie: '__Host-lastmile-sign-in=short' });
    await post('/api/approvals', '{}', {
      cookie: `__Host-lastmile-sign-in=${SECRET}; __Host-lastmile-sign-in=${SECRET}`,
    });
    expect(calls.map((call) => call.signIn)).toEqual([undefined, undefined]);
  });

  test.each<[string, Record<string, string>, number]>([
    ['another origin', { origin: 'https://evil.example' }, 403],
    ['no origin', { origin: 'null' }, 403],
    ['another site, with our origin', { 'sec-fetch-site': 'cross-site' }, 403],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['plain text that holds JSON', { 'content-type': 'text/plain' }, 415],
    ['another host name', { host: 'evil.example' }, 421],
    ['the address in place of the name', { host: '127.0.0.1' }, 421],
  ])('let no call through from %s', async (_what, headers, status) => {
    expect((await post('/api/approve', '{}', headers)).status).toBe(status);
    expect(calls).toEqual([]);
  });

  test('let no call through without an origin', async () => {
    const { origin: _left, ...headers } = FETCH();
    expect((await ask('/api/approve', { method: 'POST', headers, body: '{}' })).status).toBe(403);
    expect(calls).toEqual([]);
  });

  test('read no more than a page sends', async () => {
    expect((await post('/api/approve', 'x'.repeat(16 * 1024))).status).toBe(200);
    expect((await post('/api/approve', 'x'.repeat(16 * 1024 + 1))).status).toBe(413);
    expect(calls).toHaveLength(1);
    const broken = Buffer.alloc(16 * 1024, 0xff);
    // Three bytes for each that is no UTF-8: it must not grow past what the broker takes.
    expect((await ask('/api/approve', { method: 'POST', headers: FETCH(), body: broken })).status).toBe(400);
    expect(calls).toHaveLength(1);
  });

  test('give a refusal the status of its kind, and the words of the broker', async () => {
    answer = async () => ({ ok: false, reason: 'signed-out', message: 'sign in', signIn: null });
    const { status, headers, body } = await post('/api/approvals', '{}');
    expect(status).toBe(401);
    expect(String(headers['set-cookie'])).toContain('Max-Age=0');
    expect(JSON.parse(body)).toEqual({ ok: false, reason: 'signed-out', message: 'sign in' });
  });

  test('tell nothing of an error within the broker', async () => {
    answer = async () => {
      throw new Error('the secret cause');
    };
    const { status, body } = await post('/api/approvals', '{}');
    expect(status).toBe(503);
    expect(body).not.toContain('secret');
  });

  test('keep one address from holding everything', async () => {
    const release: (() => void)[] = [];
    answer = () =>
      new Promise((resolve) => {
        release.push(() => resolve({ ok: true, body: {} }));
      });
    const open = Array.from({ length: 12 }, () => post('/api/approvals', '{}'));
    let refused = 0;
    const allRefused = new Promise<void>((resolve) => {
      for (const response of open)
        void response.then(({ status }) => {
          if (status === 429) refused += 1;
          if (refused === 4) resolve();
        });
    });
    // Refused at once, while the others wait: 8 of them.
    await Promise.all([broker.until(() => release.length === 8), allRefused]);
    for (const go of release) go();
    const statuses = (await Promise.all(open)).map(({ status }) => status).sort();
    expect(statuses).toEqual([...Array(8).fill(200), ...Array(4).fill(429)]);
  });

  test('speak TLS 1.3 and HTTP/1.1 alone', async () => {
    const refused = await new Promise<string>((resolve) => {
      const socket = connectTls({
        host: '127.0.0.1',
        port,
        servername: 'localhost',
        ca: pki.rootPem,
        maxVersion: 'TLSv1.2',
      });
      socket.on('secureConnect', () => resolve('let in'));
      socket.on('error', (error) => resolve(error.message));
    });
    expect(refused).not.toBe('let in');
  });
});

test('there are none where none are configured', async () => {
  const other = await startFakeBroker({ role: 'control' }, 1, pki);
  expect(other.gateway.pagesPort).toBeUndefined();
  await other.stop();
});

test('a process that is replaced serves on the same port, and the broker forgets the sign-ins it saw', async () => {
  const [before] = broker.gateway.processes();
  process.kill(before?.pid ?? 0, 'SIGKILL');
  await broker.until(() => {
    const [now] = broker.gateway.processes();
    return now?.isListening === true && now.pid !== before?.pid;
  });
  expect(gone).toBe(1);
  expect((await ask('/')).status).toBe(200);
});
