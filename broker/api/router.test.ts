import { beforeEach, describe, expect, it } from 'vitest';
import { FakeLog } from '../../test/fakes/fake-log.ts';
import { API, callerOf, isSettled } from '../../test/fakes/key-use-fixture.ts';
import { AuditError } from '../audit/entry.ts';
import type { Call } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';
import { HEALTH_CHECK, METHODS } from '../proto/methods.ts';
import type { Handler, keyUseHandlers } from './key-use-service.ts';
import { Unreadable } from './messages.ts';
import { Router } from './router.ts';
import { asFailure } from './status.ts';

const CONNECTION = 7;
const numberOf = (name: string): number => METHODS.find((method) => method.name === name)!.number;

/** What the broker sent for one request. */
class Answer {
  readonly sent: unknown[] = [];
  #arrive: () => void = () => undefined;
  readonly arrived = new Promise<void>((resolve) => {
    this.#arrive = resolve;
  });

  ok(bytes: Uint8Array): void {
    this.sent.push({ ok: Buffer.from(bytes).toString() });
    this.#arrive();
  }

  fail(code: number, message: string, statusBytes: Uint8Array): void {
    const { details } = codec<object, { details: { value: Uint8Array }[] }>('google.rpc.Status').decode(
      statusBytes,
    );
    const info = codec<object, object>('google.rpc.ErrorInfo').decode(details[0]!.value);
    this.sent.push({ code, message, ...info });
    this.#arrive();
  }
}

let log: FakeLog;
let handler: Handler;
let closed: number[];
let internal: [string, unknown][];
let ended: [string, string | undefined][];
let isServing: boolean;
let router: Router;

beforeEach(() => {
  log = new FakeLog();
  closed = [];
  internal = [];
  ended = [];
  isServing = true;
  handler = async () => Buffer.from('done');
  const any: Handler = (caller, call, payload) => handler(caller, call, payload);
  router = new Router({
    keyUse: new Proxy({} as ReturnType<typeof keyUseHandlers>, {
      get: (_target, name) =>
        name === 'signStream'
          ? (
              ...[caller, call, deadline, payload, onFailure]: Parameters<
                ReturnType<typeof keyUseHandlers>['signStream']
              >
            ) =>
              handler(caller, call(deadline), payload).catch((error: unknown) => {
                onFailure(asFailure(error));
                return Buffer.from('an error of its own');
              })
          : any,
    }),
    operators: new Map([['/lastmile.v1.Admin/GetStatus', any]]),
    audit: log,
    onOverQuota: (connection) => closed.push(connection),
    onInternalError: (method, error) => internal.push([method, error]),
    serving: () => ({ keyUse: isServing }),
    onEnd: ({ name }, reason) => ended.push([name, reason]),
  });
  router.opened(CONNECTION, callerOf());
});

function ask(name: string, payload: Uint8Array = new Uint8Array(1), connection = CONNECTION): Answer {
  const answer = new Answer();
  const request = { connection, method: numberOf(name), deadline: performance.now() + 1_000, payload };
  router.handle(request, answer);
  return answer;
}

describe('a probe', () => {
  const check = (service: string): Answer => {
    const answer = new Answer();
    const payload = codec<object, object>('grpc.health.v1.HealthCheckRequest').encode({ service });
    router.handle({ connection: CONNECTION, method: HEALTH_CHECK.number, deadline: 0, payload }, answer);
    return answer;
  };
  const told = (status: number) => [
    {
      ok: Buffer.from(
        codec<object, object>('grpc.health.v1.HealthCheckResponse').encode({ status }),
      ).toString(),
    },
  ];

  it.each([
    ['', true, 1],
    ['', false, 2],
    ['lastmile.v1.KeyUse', false, 2],
    ['lastmile.v1.Admin', false, 1],
    ['lastmile.v1.Audit', false, 1],
  ])('about “%s” while keys are used: %s', (service, serves, status) => {
    isServing = serves;
    expect(check(service).sent).toEqual(told(status));
  });

  it('leaves no trace', () => {
    check('');
    expect([log.entries, log.refusals, ended]).toEqual([[], [], []]);
  });
});

describe('how a request ended', () => {
  it('is told, with the reason that its caller was told', async () => {
    await ask('Verify').arrived;
    handler = async () => {
      throw new Failure('POLICY_DENIED', 'no');
    };
    await ask('Verify').arrived;
    await ask('SignStream').arrived;
    handler = async () => {
      throw new Unreadable(new Error('garbage'));
    };
    await ask('Sign').arrived;
    await isSettled(Promise.resolve());
    expect(ended).toEqual([
      ['Verify', undefined],
      ['Verify', 'POLICY_DENIED'],
      ['SignStream', 'POLICY_DENIED'],
      ['Sign', 'REQUEST_INVALID'],
    ]);
  });
});

describe('a request', () => {
  it('comes to its handler as the caller of its connection, with its deadline', async () => {
    let seen: [string, number, number] | undefined;
    handler = async (caller, call, payload) => {
      seen = [caller.identity.spiffeId.id, call.deadline - performance.now(), payload.length];
      return Buffer.from('done');
    };
    const answer = ask('Sign', new Uint8Array(5));
    await answer.arrived;
    expect(answer.sent).toEqual([{ ok: 'done' }]);
    expect(seen![0]).toBe(API);
    expect(seen![1]).toBeGreaterThan(500);
    expect(seen![2]).toBe(5);
  });

  it('on a connection that nobody has verified, or that is closed, is refused', async () => {
    let calls = 0;
    handler = async () => {
      calls++;
      return new Uint8Array();
    };
    router.closed(CONNECTION);
    for (const connection of [CONNECTION, 8]) {
      const answer = ask('Sign', new Uint8Array(), connection);
      await answer.arrived;
      expect(answer.sent).toMatchObject([
        { code: 16, reason: 'SVID_MISSING', metadata: { performed: 'no' } },
      ]);
    }
    expect(calls).toBe(0);
  });

  it('for a method that is not there is refused', async () => {
    const answer = new Answer();
    router.handle({ connection: CONNECTION, method: 250, deadline: 0, payload: new Uint8Array() }, answer);
    const unserved = ask('Freeze');
    await Promise.all([answer.arrived, unserved.arrived]);
    expect(answer.sent).toHaveLength(1);
    expect(unserved.sent).toMatchObject([{ code: 12, reason: 'OPERATION_UNSUPPORTED' }]);
  });

  it('that is cancelled cancels its call, and no other', async () => {
    const calls: Call[] = [];
    handler = (_caller, call) => {
      calls.push(call);
      return new Promise((_resolve, reject) =>
        call.addEventListener('abort', () => reject(new Failure('CANCELLED', 'gone'))),
      );
    };
    const [first, second] = [ask('Sign'), ask('Sign')];
    expect(router.openRequests).toBe(2);
    router.cancel(first);
    await first.arrived;
    expect(first.sent).toMatchObject([{ code: 1, reason: 'CANCELLED' }]);
    expect(calls.map(({ aborted }) => aborted)).toEqual([true, false]);
    router.cancel(second);
    await second.arrived;
    expect(await isSettled(second.arrived)).toBe(true);
    expect(router.openRequests).toBe(0);
  });
});

describe('a failure', () => {
  it.each([
    [new Failure('BUSY', 'later', { performed: 'no' }), 8, 'BUSY', 'no'],
    [new Failure('TOKEN_UNREACHABLE', 'away', { performed: 'unknown' }), 14, 'TOKEN_UNREACHABLE', 'unknown'],
    [new AuditError('AUDIT_UNAVAILABLE', 'the disk of this machine'), 14, 'AUDIT_UNAVAILABLE', 'no'],
    [new AuditError('AUDIT_INCONSISTENT', 'the disk of this machine'), 15, 'AUDIT_INCONSISTENT', 'no'],
    [Object.assign(new Error('CKR_PIN_INCORRECT'), { code: 7 }), 13, 'INTERNAL', 'unknown'],
    ['a string', 13, 'INTERNAL', 'unknown'],
  ] as const)('of %s is told by its code', async (error, code, reason, performed) => {
    handler = () => Promise.reject(error);
    const answer = ask('Sign');
    await answer.arrived;
    expect(answer.sent).toMatchObject([{ code, reason, domain: 'lastmile', metadata: { performed } }]);
    expect(JSON.stringify(answer.sent)).not.toMatch(/CKR_|disk of this/);
    expect(internal).toEqual(reason === 'INTERNAL' ? [['/lastmile.v1.KeyUse/Sign', error]] : []);
  });

  it('that a handler throws at once is one like any other', async () => {
    handler = () => {
      throw new TypeError('a bug');
    };
    const answer = ask('GetStatus');
    await answer.arrived;
    expect(answer.sent).toMatchObject([{ code: 13, message: 'internal error' }]);
    expect(internal).toMatchObject([['/lastmile.v1.Admin/GetStatus', new TypeError('a bug')]]);
  });

  it('within a stream reaches the operator although the stream goes on', async () => {
    handler = () => Promise.reject(new TypeError('a bug'));
    const answer = ask('SignStream');
    await answer.arrived;
    expect(answer.sent).toEqual([{ ok: 'an error of its own' }]);
    expect(internal).toMatchObject([['/lastmile.v1.KeyUse/SignStream', new TypeError('a bug')]]);
  });
});

describe('a workload over its quota of the log', () => {
  it.each(['Sign', 'SignStream'])('loses its connection after %s, others keep theirs', async (method) => {
    log.overQuota.add(API);
    router.opened(8, callerOf('spiffe://example.org/ns/quiet'));
    const [flood, quiet] = [ask(method), ask(method, new Uint8Array(1), 8)];
    await Promise.all([flood.arrived, quiet.arrived]);
    await isSettled(flood.arrived);
    expect(closed).toEqual([CONNECTION]);
  });
});

describe('bytes of requests that wait', () => {
  const megabytes = (count: number) => new Uint8Array(count << 20);

  it('are bounded for a workload, given back with the answer, and nobody else is refused for them', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    handler = async () => {
      await held;
      return Buffer.from('done');
    };
    router.opened(8, callerOf('spiffe://example.org/ns/quiet'));
    const waiting = [ask('Sign', megabytes(16)), ask('Sign', megabytes(16))];
    const over = ask('Sign', megabytes(1));
    await over.arrived;
    expect(over.sent).toMatchObject([{ code: 8, reason: 'BUSY', metadata: { performed: 'no' } }]);
    const quiet = ask('Sign', megabytes(16), 8);
    release();
    await Promise.all([...waiting, quiet].map(({ arrived }) => arrived));
    await isSettled(quiet.arrived);
    const after = ask('Sign', megabytes(32));
    await after.arrived;
    expect(after.sent).toEqual([{ ok: 'done' }]);
  });
});

describe('a request that cannot be read', () => {
  it('is counted before its refusal is told', async () => {
    handler = () => Promise.reject(new Unreadable(new Error('truncated')));
    const answer = ask('Sign');
    await answer.arrived;
    expect(answer.sent).toMatchObject([{ code: 3, reason: 'REQUEST_INVALID' }]);
    expect(log.refusals).toMatchObject([
      { subject: API, operation: 'KeyUse.Sign', decision: 'deny', reason: 'REQUEST_INVALID' },
    ]);
  });
});

describe('requests that wait', () => {
  it('are bounded by their bytes for each workload, until they are over', async () => {
    let finish: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    handler = () => held.then(() => Buffer.from('done'));
    const megabyte = new Uint8Array(1 << 20);
    const waiting = Array.from({ length: 32 }, () => ask('Sign', megabyte));
    const refused = ask('Sign', megabyte);
    await refused.arrived;
    expect(refused.sent).toMatchObject([{ code: 8, reason: 'BUSY' }]);
    // What was cancelled may still be waiting with all its bytes.
    for (const answer of waiting) router.cancel(answer);
    const stillRefused = ask('Sign', megabyte);
    await stillRefused.arrived;
    expect(stillRefused.sent).toMatchObject([{ reason: 'BUSY' }]);
    finish();
    await Promise.all(waiting.map(({ arrived }) => arrived));
    const served = ask('Sign', megabyte);
    await served.arrived;
    expect(served.sent).toEqual([{ ok: 'done' }]);
  });
});
