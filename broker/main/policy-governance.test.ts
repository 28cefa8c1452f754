import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ALICE,
  GovernanceFixture,
  hashOf,
  ONE,
  propose,
  TWO,
  UNGOVERNED,
} from '../../test/fakes/governance-fixture.ts';
import { AuditError, type EntryDraft } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { StateStore } from '../state/state-store.ts';
import type { PolicyHolder } from './policy-holder.ts';

let fixture: GovernanceFixture;
beforeEach(async () => {
  fixture = await GovernanceFixture.make();
});
afterEach(() => fixture.close());

describe('under governance a changed file alone changes nothing', () => {
  it('while the broker runs, and says what to do', async () => {
    const held = await fixture.open();
    await writeFile(fixture.file, TWO);
    await expect(held.reload()).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(held.refusal).toContain('propose it');
    expect(fixture.people.asked).toEqual([]);
    expect(fixture.log.entries.at(-1)).toMatchObject({
      kind: 'policy',
      decision: 'deny',
      detail: { offered: hashOf(TWO) },
    });
    await writeFile(fixture.file, ONE);
    await held.reload();
    expect(held.refusal).toBe('');
  });

  it('over a restart', async () => {
    await fixture.open();
    await writeFile(fixture.file, TWO);
    const held = await fixture.open();
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(held.refusal).toContain('propose it');
    expect(fixture.log.entries.filter(({ decision }) => decision === 'allow')).toHaveLength(1);
  });

  it('nor does a file that has no governance, no policy in it, or is gone', async () => {
    await fixture.open();
    for (const text of [UNGOVERNED, 'no policy']) {
      await writeFile(fixture.file, text);
      const held = await fixture.open();
      expect(held.current.hash).toBe(hashOf(ONE));
      await expect(held.reload()).rejects.toThrow(Failure);
      expect(held.current.hash).toBe(hashOf(ONE));
    }
    await rm(fixture.file);
    expect((await fixture.open()).current.hash).toBe(hashOf(ONE));
  });

  it('nor does the loss of what was in force: the broker does not start', async () => {
    await fixture.open();
    await rm(join(fixture.directory, 'policies'), { recursive: true });
    await writeFile(fixture.file, TWO);
    await expect(fixture.open()).rejects.toThrow('no longer among the kept policies');
  });

  it('nor one that was kept and then rewritten', async () => {
    await fixture.open();
    await writeFile(join(fixture.directory, 'policies', `${hashOf(ONE).slice(7)}.yaml`), TWO);
    await expect(fixture.open()).rejects.toThrow('no longer among the kept policies');
  });

  it('but it brings governance, and everything before it', async () => {
    await writeFile(fixture.file, UNGOVERNED);
    const held = await fixture.open();
    await writeFile(fixture.file, ONE);
    await held.reload();
    expect(held.current.governance?.approvals).toBe(2);
    await writeFile(fixture.file, UNGOVERNED);
    await expect(held.reload()).rejects.toThrow(Failure);
    expect(held.current.hash).toBe(hashOf(ONE));
  });
});

describe('governance that somebody takes off in the files of the log', () => {
  const activation = () => fixture.log.entries.findLastIndex(({ decision }) => decision === 'allow');
  const forge = (change: (detail: NonNullable<EntryDraft['detail']>) => EntryDraft['detail']): void => {
    const entry = fixture.log.entries[activation()]!;
    fixture.log.entries[activation()] = { ...entry, detail: change(entry.detail!) };
  };

  it('in the index counts for nothing: the log itself is read', async () => {
    await fixture.open();
    await writeFile(fixture.file, UNGOVERNED);
    fixture.log.isHidden = ({ operation }) => operation === 'activate';
    expect((await fixture.open()).current.hash).toBe(hashOf(ONE));
  });

  it('in the index counts for nothing either where the state remembers nothing yet', async () => {
    await fixture.open();
    await writeFile(fixture.file, UNGOVERNED);
    fixture.rows = new PolicyRows(new StateStore(':memory:'));
    fixture.log.isHidden = ({ operation }) => operation === 'activate';
    expect((await fixture.open()).current.hash).toBe(hashOf(ONE));
    expect(fixture.rows.inForce).toEqual({ hash: hashOf(ONE), isGoverned: true });
  });

  it('in an entry stops the start, which says what the log and the state say', async () => {
    await fixture.open();
    await writeFile(fixture.file, UNGOVERNED);
    forge(({ governed, ...detail }) => ({ ...detail, governee: governed }));
    await expect(fixture.open()).rejects.toThrow(
      `by the log it is ${hashOf(ONE)} without \`governance\`, by the state ${hashOf(ONE)} with \`governance\`. Bring the log`,
    );
    expect(fixture.rows.inForce?.isGoverned).toBe(true);
  });

  it('by an entry that had no room for it stops the start', async () => {
    await fixture.open();
    await writeFile(fixture.file, UNGOVERNED);
    forge((detail) => ({ omittedBytes: JSON.stringify(detail).length }));
    await expect(fixture.open()).rejects.toThrow('does not say which policy came into force');
    fixture.rows = new PolicyRows(new StateStore(':memory:'));
    await expect(fixture.open()).rejects.toThrow('does not say which policy came into force');
  });

  it('by another kept policy in its place stops the start', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    forge((detail) => ({ ...detail, after: hashOf(TWO) }));
    await expect(fixture.open()).rejects.toThrow('disagree about the policy in force');
  });

  it('by taking the entry away stops the start', async () => {
    await fixture.open();
    fixture.log.entries.splice(0);
    await writeFile(fixture.file, UNGOVERNED);
    await expect(fixture.open()).rejects.toThrow('by the log it is none');
  });
});

describe('a broker that ends in the middle of an activation', () => {
  async function agreed(): Promise<PolicyHolder> {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    return held;
  }

  it('after the entry starts with the new policy', async () => {
    const held = await agreed();
    const settle = fixture.rows.settle.bind(fixture.rows);
    fixture.rows.settle = () => {
      throw new Error('killed');
    };
    await held.activate(hashOf(TWO), ALICE);
    expect([fixture.rows.inForce?.hash, fixture.rows.next?.hash]).toEqual([hashOf(ONE), hashOf(TWO)]);
    fixture.rows.settle = settle;
    expect((await fixture.open()).current.hash).toBe(hashOf(TWO));
    expect([fixture.rows.inForce?.hash, fixture.rows.next]).toEqual([hashOf(TWO), undefined]);
  });

  it('before the entry starts with the old one', async () => {
    const held = await agreed();
    fixture.log.failure = new AuditError('AUDIT_UNAVAILABLE', 'killed');
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow('killed');
    expect(fixture.rows.next?.hash).toBe(hashOf(TWO));
    expect((await fixture.open()).current.hash).toBe(hashOf(ONE));
    expect(fixture.rows.next).toBeUndefined();
  });

  it('does nothing where the state cannot be written', async () => {
    const held = await agreed();
    fixture.rows.begin = () => {
      throw new Error('disk is full');
    };
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow('disk is full');
    expect([held.current.hash, fixture.log.entries.length, fixture.people.left('a-1')]).toEqual([
      hashOf(ONE),
      1,
      1,
    ]);
  });
});
