import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fakes/fake-clock.ts';
import { FakeLog } from '../../test/fakes/fake-log.ts';
import { FakeToken } from '../../test/fakes/fake-token.ts';
import { FakeLedger } from '../../test/fakes/fake-token-worker.ts';
import { AuditError } from '../audit/entry.ts';
import { TokenJournal } from './token-journal.ts';

let log: FakeLog;
let clock: FakeClock;
let token: FakeToken;
let failures: unknown[];
let journal: TokenJournal;

beforeEach(() => {
  log = new FakeLog();
  clock = new FakeClock();
  token = new FakeToken('one');
  failures = [];
  journal = new TokenJournal({ audit: log, clock, onFailure: (error) => failures.push(error) });
});

/** Everything written so far, once what was begun is through. */
async function told(): Promise<unknown[]> {
  await new Promise((resolve) => setImmediate(resolve));
  return log.entries.map(({ kind, operation, decision, detail }) => {
    expect(kind).toBe('token');
    return [operation, decision, detail?.['state'] ?? detail?.['outcome'], detail?.['changes']];
  });
}

describe('the journal of tokens', () => {
  it('tells the first state and each change, not what lies between', async () => {
    journal.watch(token);
    clock.advance(1000);
    token.setState('starting');
    token.login();
    clock.advance(1000);
    token.setState('degraded');
    clock.advance(1000);
    token.quarantine('wrong bytes');
    expect(await told()).toEqual([
      ['state', 'allow', 'ready', undefined],
      ['state', 'allow', 'degraded', undefined],
      ['state', 'deny', 'blocked', undefined],
    ]);
    expect(log.entries.at(-1)).toMatchObject({
      subject: 'lastmile',
      detail: { token: 'serial-one', name: 'one', advice: 'wrong bytes', login: 2 },
    });
  });

  it('makes one entry a second of a token that flaps, the newest state with the count', async () => {
    journal.watch(token);
    for (let i = 0; i < 50; i++) {
      token.setState('degraded');
      token.setState('ready');
    }
    token.setState('down');
    expect(await told()).toHaveLength(1);
    clock.advance(1000);
    clock.advance(1000);
    token.setState('ready');
    expect(await told()).toEqual([
      ['state', 'allow', 'ready', undefined],
      ['state', 'deny', 'down', 101],
      ['state', 'allow', 'ready', undefined],
    ]);
  });

  it('tells each token for itself', async () => {
    journal.watch(token);
    journal.watch(new FakeToken('two'));
    expect((await told()).length).toBe(2);
  });

  it('tells of an attempt to log in after the ledger has it, and of what came of it', async () => {
    const inner = new FakeLedger();
    const ledger = journal.ledger(inner, 'one');
    ledger.recordAttempt('cafe', 'file:/etc/pin');
    ledger.recordOutcome('cafe', 'file:/etc/pin', 'rejected');
    expect(await told()).toEqual([
      ['login', 'allow', 'unknown', undefined],
      ['login-rejected', 'deny', 'rejected', undefined],
    ]);
    expect(ledger.lookup('cafe', 'file:/etc/pin')).toBe('rejected');
    inner.refusal = new Error('disk full');
    expect(() => ledger.recordAttempt('cafe', 'file:/etc/pin')).toThrow('disk full');
    expect(() => ledger.recordFinding('cafe', 'x')).toThrow('disk full');
    clock.advance(1000);
    expect(await told()).toHaveLength(2);
  });

  it('writes what waits when it is closed, and nothing after', async () => {
    journal.watch(token);
    token.setState('degraded');
    journal.close();
    token.setState('down');
    clock.advance(5000);
    expect(await told()).toEqual([
      ['state', 'allow', 'ready', undefined],
      ['state', 'allow', 'degraded', undefined],
    ]);
  });

  it('says when an entry could not be written, and goes on', async () => {
    const full = new AuditError('AUDIT_UNAVAILABLE', 'no space');
    log.rejection = () => full;
    journal.watch(token);
    await told();
    expect(failures).toEqual([full]);
  });
});
