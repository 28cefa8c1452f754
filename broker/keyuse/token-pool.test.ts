import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import type { Call } from './call.ts';
import type { KeyVersion } from './key-catalog.ts';
import type { Binding } from './token-keys.ts';
import { PIPELINING, TokenPool } from './token-pool.ts';

let fixture: KeyUseFixture;
let version: KeyVersion;
let pool: TokenPool;
beforeEach(async () => {
  fixture = new KeyUseFixture();
  for (const token of fixture.tokens) token.capacity = 1;
  version = await fixture.create('app/k', 'ES256');
  pool = fixture.pool;
});
afterEach(() => vi.useRealTimers());
afterEach(() => fixture.close());

const ROOM = PIPELINING;
const choose = async (subject = 'a', call: Call = callFor()) => pool.choose(subject, version, call);

/** Everything that there is room for. */
async function fill(): Promise<Binding[]> {
  const taken: Binding[] = [];
  for (let i = 0; i < fixture.tokens.length * ROOM; i++) taken.push(await choose('filler'));
  return taken;
}

describe('choosing a token', () => {
  it('spreads work over all that have the key, and prefers what is healthy', async () => {
    // No time passes: an operation that is not back yet counts against its token.
    vi.useFakeTimers({ toFake: ['performance'] });
    const even = [await choose(), await choose(), await choose(), await choose()];
    expect(even.filter(({ token }) => token.name === 'one')).toHaveLength(2);
    for (const binding of even) pool.release(binding);
    fixture.tokens[1]!.capacity = 4;
    fixture.token.capacity = 4;
    fixture.token.setState('degraded');
    const uneven = [await choose(), await choose()];
    expect(uneven.map(({ token }) => token.name)).toEqual(['two', 'two']);
    for (const binding of uneven) pool.release(binding);
  });

  it('takes another than the one that is to be avoided, while there is another', async () => {
    for (const token of fixture.tokens) {
      for (let i = 0; i < ROOM; i++) {
        const binding = await pool.choose('a', version, callFor(), token);
        expect(binding.token).not.toBe(token);
        pool.release(binding);
      }
    }
    fixture.token.setState('down');
    const only = await pool.choose('a', version, callFor(), fixture.tokens[1]);
    expect(only.token).toBe(fixture.tokens[1]);
    pool.release(only);
  });

  it.each([
    ['is frozen', 'TOKEN_UNREACHABLE'],
    ['is down', 'TOKEN_UNREACHABLE'],
    ['is blocked', 'TOKEN_LOGIN_BLOCKED'],
    ['has another key there', 'KEY_UNUSABLE'],
  ] as const)('finds none when every one %s', async (what, reason) => {
    for (const token of fixture.tokens) {
      if (what === 'is frozen') {
        fixture.freezes.put({ kind: 'token', subject: token.name, reason: 'r', by: 'b', since: 's' });
      } else if (what === 'has another key there')
        for (const binding of fixture.keys.bindings(version.id).filter((one) => one.token === token))
          fixture.keys.revoke(binding, version.id, 'it is another key');
      else token.setState(what === 'is down' ? 'down' : 'blocked');
    }
    expect(await failureOf(choose())).toMatchObject({ reason, performed: 'no' });
    expect(pool.waiting).toBe(0);
  });

  it('never takes one that is frozen, draining, starting or has not proven the key', async () => {
    fixture.freezes.put({ kind: 'token', subject: 'one', reason: 'r', by: 'b', since: 's' });
    const taken = [await choose(), await choose(), await choose()];
    expect(new Set(taken.map(({ token }) => token.name))).toEqual(new Set(['two']));
    for (const binding of taken) pool.release(binding);
    for (const state of ['draining', 'starting', 'blocked', 'down'] as const) {
      fixture.tokens[1]!.setState(state);
      expect((await failureOf(choose())).performed).toBe('no');
    }
  });
});

describe('what waits', () => {
  it('gets a place when one is given back, each once', async () => {
    const taken = await fill();
    const waiting = [choose(), choose(), choose()];
    await Promise.resolve();
    expect(pool.waiting).toBe(3);
    pool.release(taken.pop()!);
    await waiting[0];
    expect(pool.waiting).toBe(2);
    pool.pump();
    expect(pool.waiting).toBe(2);
    for (const binding of taken) pool.release(binding);
    for (const binding of await Promise.all(waiting)) pool.release(binding);
  });

  it('gets a place on a token that comes back', async () => {
    fixture.token.setState('down');
    const taken: Binding[] = [];
    for (let i = 0; i < ROOM; i++) taken.push(await choose());
    const waiting = choose();
    await Promise.resolve();
    fixture.token.login();
    await fixture.keys.settled();
    expect((await waiting).token).toBe(fixture.token);
    for (const binding of [...taken, await waiting]) pool.release(binding);
  });

  it('is told when the last token of the key goes', async () => {
    const taken = await fill();
    const waiting = failureOf(choose());
    await Promise.resolve();
    for (const token of fixture.tokens) token.setState('down');
    expect((await waiting).reason).toBe('TOKEN_UNREACHABLE');
    expect(pool.waiting).toBe(0);
    for (const binding of taken) pool.release(binding);
  });

  it('is over at its deadline and when its caller goes, though nothing is given back', async () => {
    const taken = await fill();
    const call = callFor();
    const late = failureOf(choose('a', callFor(10)));
    const gone = failureOf(choose('b', call));
    await Promise.resolve();
    call.cancel();
    expect((await late).reason).toBe('DEADLINE_EXCEEDED');
    expect((await gone).reason).toBe('CANCELLED');
    expect(pool.waiting).toBe(0);
    for (const binding of taken) pool.release(binding);
  });

  it('of one workload does not stand before another’s', async () => {
    const taken = await fill();
    const order: string[] = [];
    const served = (subject: string) =>
      choose(subject).then((binding) => {
        order.push(subject);
        pool.release(binding);
      });
    const flood = Array.from({ length: 100 }, () => served('flood'));
    const quiet = Array.from({ length: 5 }, () => served('quiet'));
    await Promise.resolve();
    for (const binding of taken) pool.release(binding);
    await Promise.all([...flood, ...quiet]);
    expect(order.lastIndexOf('quiet')).toBeLessThan(16);
  });

  it('is bounded: for one workload, and nobody else is refused for it', async () => {
    const taken = await fill();
    const calls: Call[] = [];
    const all: Promise<unknown>[] = [];
    const ask = (subject: string): void => {
      const call = callFor();
      calls.push(call);
      all.push(choose(subject, call));
    };
    for (let i = 0; i < 2048; i++) ask('flood');
    await Promise.resolve();
    expect(pool.waiting).toBe(2048);
    expect(await failureOf(choose('flood'))).toMatchObject({ reason: 'BUSY', performed: 'no' });
    ask('quiet');
    await Promise.resolve();
    expect(pool.waiting).toBe(2049);
    for (const call of calls) call.cancel();
    const outcomes = await Promise.allSettled(all);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    for (const binding of taken) pool.release(binding);
  });

  it('is bounded for all workloads together', async () => {
    const taken = await fill();
    const calls: Call[] = [];
    const all: Promise<unknown>[] = [];
    for (let i = 0; i < 16_384; i++) {
      const call = callFor();
      calls.push(call);
      all.push(choose(`workload ${i % 16}`, call));
    }
    await Promise.resolve();
    expect((await failureOf(choose('another'))).reason).toBe('BUSY');
    for (const call of calls) call.cancel();
    await Promise.allSettled(all);
    for (const binding of taken) pool.release(binding);
  });
});

describe('for random bytes', () => {
  it('takes any token that serves, and none that is frozen', async () => {
    const taken: Binding[] = [];
    for (let i = 0; i < 2 * ROOM; i++) taken.push(await pool.choose('a', undefined, callFor()));
    expect(new Set(taken.map(({ token }) => token.name)).size).toBe(2);
    for (const binding of taken) pool.release(binding);
    for (const token of fixture.tokens) {
      fixture.freezes.put({ kind: 'token', subject: token.name, reason: 'r', by: 'b', since: 's' });
    }
    expect(() => pool.choose('a', undefined, callFor())).toThrow('no token can be reached');
  });
});

describe('whatever happens', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const), who: fc.nat(3), key: fc.nat(2) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), which: fc.nat(30) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('state' as const),
        token: fc.nat(1),
        state: fc.constantFrom('ready' as const, 'degraded' as const, 'down' as const, 'blocked' as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('freeze' as const), token: fc.nat(1), on: fc.boolean() }),
    },
  );

  it('no token has more than its room, each request ends once, and nothing over, frozen or away gets a place', async () => {
    const versions = [
      version,
      await fixture.create('app/one', 'ES256', { tokens: ['one'] }),
      await fixture.create('app/two', 'ES256', { tokens: ['two'] }),
    ];
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const model = new TokenPool(fixture.keys, fixture.freezes);
        const held: Binding[] = [];
        const calls: Call[] = [];
        let asked = 0;
        let ended = 0;
        const room = (): void => {
          for (const token of fixture.tokens) {
            expect(held.filter((binding) => binding.token === token).length).toBeLessThanOrEqual(ROOM);
          }
        };
        for (const now of steps) {
          if (now.do === 'ask') {
            asked++;
            const call = callFor();
            calls.push(call);
            const wanted = versions[now.key]!;
            (async () => model.choose(`workload ${now.who}`, wanted, call))().then(
              (binding) => {
                ended++;
                held.push(binding);
                expect(call.aborted).toBe(false);
                expect(['ready', 'degraded']).toContain(binding.token.state);
                expect(fixture.freezes.isFrozen('token', binding.token.name)).toBe(false);
                expect(wanted.objects.map(({ tokenSerial }) => tokenSerial)).toContain(
                  binding.token.info!.serial,
                );
                room();
              },
              () => ended++,
            );
          } else if (now.do === 'release') {
            const [binding] = held.splice(now.which % Math.max(1, held.length), 1);
            if (binding !== undefined) model.release(binding);
          } else if (now.do === 'cancel') calls[now.which % Math.max(1, calls.length)]?.cancel();
          else if (now.do === 'state') fixture.tokens[now.token]!.setState(now.state);
          else {
            const { name } = fixture.tokens[now.token]!;
            if (now.on)
              fixture.freezes.put({ kind: 'token', subject: name, reason: 'r', by: 'b', since: 's' });
            else lift(fixture, name);
          }
          model.pump();
          await settle();
        }
        for (const token of fixture.tokens) {
          token.setState('ready');
          lift(fixture, token.name);
        }
        for (let i = 0; i <= asked; i++) {
          model.pump();
          await settle();
          for (const binding of held.splice(0)) model.release(binding);
          await settle();
        }
        expect(ended).toBe(asked);
        expect(model.waiting).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

/** Every promise that is settled by now has run what waits for it. */
async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

function lift({ freezes }: KeyUseFixture, token: string): void {
  const row = freezes.get('token', token);
  if (row !== undefined) freezes.lift(row);
}
