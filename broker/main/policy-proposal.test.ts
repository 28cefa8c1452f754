import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ALICE,
  BOB,
  GovernanceFixture,
  hashOf,
  ONE,
  policy,
  propose,
  TWO,
  UNGOVERNED,
} from '../../test/fakes/governance-fixture.ts';
import { AuditError } from '../audit/entry.ts';

const THREE = policy('sign, mac');

let fixture: GovernanceFixture;
beforeEach(async () => {
  fixture = await GovernanceFixture.make();
});
afterEach(() => fixture.close());

describe('another policy', () => {
  it('is proposed, agreed to and activated, and all of it is on record', async () => {
    const held = await fixture.open();
    const proposed = await propose(held, TWO);
    expect(proposed).toMatchObject({ policyHash: hashOf(TWO), approval: 'a-1', isApproved: false });
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(fixture.people.asked).toMatchObject([
      {
        requester: ALICE,
        operation: 'policy.activate',
        key: '',
        content: {
          kind: 'shown',
          type: 'policy',
          text: expect.stringContaining(
            `in force: ${hashOf(ONE)}\nproposed: ${hashOf(TWO)}\nrule signs changed\n  operations: ["sign"] becomes ["sign","verify"]`,
          ),
        },
        allowance: {
          rule: 'governance',
          quorum: { approvals: 2, groups: ['security'], uses: 1, covers: 'act', emergency: false },
        },
      },
    ]);
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      metadata: { approval: 'a-1' },
    });
    fixture.people.approve('a-1');
    expect(await propose(held, TWO)).toMatchObject({ approval: 'a-1', isApproved: true });
    expect((await held.activate(hashOf(TWO), ALICE)).hash).toBe(hashOf(TWO));
    expect([held.current.hash, await readFile(fixture.file, 'utf8'), held.refusal]).toEqual([
      hashOf(TWO),
      TWO,
      '',
    ]);
    expect(fixture.log.entries.at(-1)?.detail).toMatchObject({
      before: hashOf(ONE),
      after: hashOf(TWO),
      by: ALICE,
      governed: true,
      approval: { id: 'a-1', votes: [7, 8] },
    });
    expect(fixture.people.left('a-1')).toBe(0);
    expect((await fixture.open()).current.hash).toBe(hashOf(TWO));
  });

  it('is proposed without using anything of what people agreed to', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    expect(await propose(held, TWO)).toMatchObject({ approval: 'a-1', isApproved: true });
    expect([fixture.people.taken, fixture.people.left('a-1')]).toEqual([0, 1]);
  });

  it('is neither proposed nor activated where nobody can be shown what changes', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    await rm(join(fixture.directory, 'policies', `${hashOf(ONE).slice(7)}.yaml`));
    for (const refused of [propose(held, THREE), held.activate(hashOf(TWO), ALICE)])
      await expect(refused).rejects.toMatchObject({
        reason: 'REQUEST_INVALID',
        message: expect.stringContaining('shown what changes'),
      });
    expect([held.current.hash, fixture.people.taken, fixture.people.asked.length]).toEqual([
      hashOf(ONE),
      0,
      1,
    ]);
  });

  it('is among those that were in force only once it is', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    const kept = async () =>
      (await readdir(join(fixture.directory, 'policies'))).filter((name) =>
        name.startsWith(hashOf(TWO).slice(7)),
      );
    expect(await kept()).toEqual([`${hashOf(TWO).slice(7)}.proposed.yaml`]);
    fixture.people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    expect(await kept()).toEqual([`${hashOf(TWO).slice(7)}.yaml`]);
  });

  it('is not one that somebody else proposed', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    await expect(held.activate(hashOf(TWO), BOB)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    expect(held.current.hash).toBe(hashOf(ONE));
  });

  it('is not what was agreed to any more once another one is in force', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    await propose(held, THREE);
    fixture.people.approve('a-1');
    fixture.people.approve('a-2');
    await held.activate(hashOf(TWO), ALICE);
    await expect(held.activate(hashOf(THREE), ALICE)).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      metadata: { approval: 'a-3' },
    });
  });

  it('is also an earlier one, and one without governance', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    await expect(held.activate(hashOf(ONE), ALICE)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    await expect(propose(held, UNGOVERNED)).resolves.toMatchObject({ isApproved: false });
    await expect(held.activate(hashOf(UNGOVERNED), ALICE)).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
    });
    expect(fixture.people.asked.at(-1)?.content).toMatchObject({
      text: expect.stringContaining('governance'),
    });
  });

  it('must be one: what has a mistake is not proposed', async () => {
    const held = await fixture.open();
    await expect(propose(held, 'version: 1\nrules: 7\n')).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
      message: expect.stringContaining('policy.yaml:2:8'),
    });
    await expect(propose(held, ONE)).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(fixture.people.asked).toEqual([]);
  });

  it('is not proposed where nobody has to agree', async () => {
    await writeFile(fixture.file, UNGOVERNED);
    const held = await fixture.open();
    await expect(propose(held, TWO)).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    await writeFile(fixture.file, policy('mac', ''));
    expect((await held.reload()).hash).toBe(hashOf(policy('mac', '')));
  });

  it('does not come into force while nobody can be asked', async () => {
    await propose(await fixture.open(), TWO);
    const held = await fixture.open(() => undefined);
    await expect(propose(held, TWO)).rejects.toMatchObject({ reason: 'BUSY' });
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toMatchObject({ reason: 'BUSY' });
    expect(held.current.hash).toBe(hashOf(ONE));
  });

  it('does not come into force unrecorded, and the approval is given back', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    fixture.log.failure = new AuditError('AUDIT_UNAVAILABLE', 'no space left');
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow(AuditError);
    expect([held.current.hash, fixture.people.left('a-1')]).toEqual([hashOf(ONE), 1]);
    fixture.log.failure = undefined;
    await held.activate(hashOf(TWO), ALICE);
    expect([held.current.hash, fixture.people.left('a-1')]).toEqual([hashOf(TWO), 0]);
  });

  it('that is on record is in force after a kill before the file was written', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    await writeFile(fixture.file, ONE);
    expect((await fixture.open()).current.hash).toBe(hashOf(TWO));
  });

  it('is in force even where the file cannot be written, and that is told', async () => {
    const held = await fixture.open();
    await propose(held, TWO);
    fixture.people.approve('a-1');
    await rm(fixture.file);
    await held.activate(hashOf(TWO), ALICE);
    expect(held.current.hash).toBe(hashOf(TWO));
    expect(held.refusal).toContain('cannot be written');
  });

  it('with more differences than an act can show is attached to it', async () => {
    const held = await fixture.open();
    const rules = Array.from(
      { length: 400 },
      (_, i) =>
        `  - { id: r${i}, workloads: [spiffe://example.org/w${i}], keys: [k${i}], operations: [sign] }\n`,
    ).join('');
    await propose(held, `${ONE}${rules}`);
    const [{ content, attachment } = {}] = fixture.people.asked;
    expect(content).toMatchObject({ kind: 'attached', bytes: attachment?.length });
    const text = Buffer.from(attachment ?? []).toString();
    expect(text).toContain(`in force: ${hashOf(ONE)}\nproposed: sha256:`);
    expect(text).toContain('rule r399 added');
  });
});
