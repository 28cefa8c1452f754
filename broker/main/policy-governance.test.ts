import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakePolicyLog } from '../../test/fakes/fake-policy-log.ts';
import type { ApprovalUse, AskedApprovals, Petition } from '../approvals/approvals.ts';
import { canonicalize } from '../audit/canonical.ts';
import { AuditError, type EntryDraft } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { StateStore } from '../state/state-store.ts';
import { policyHash } from './policy-history.ts';
import { PolicyHolder } from './policy-holder.ts';

const ALICE = 'spiffe://example.org/human/alice';
const BOB = 'spiffe://example.org/human/bob';
const KEYS = ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', '8cX41WaGXcaVRbp4OU-ue2sWEOvCxRPfvsVB1ZDwVlg'];

const GOVERNANCE = 'governance: { approvals: 2, of: security, within: 1d }\n';
function policy(operations: string, governance: string = GOVERNANCE): string {
  return `version: 1
approvers:
${['anna', 'ben']
  .map(
    (id, i) => `  - id: ${id}
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"${KEYS[i]}"}' }]
    spiffeId: spiffe://example.org/human/${id}
`,
  )
  .join('')}groups: { security: [anna, ben] }
${governance}rules:
  - id: signs
    workloads: [spiffe://example.org/w]
    keys: [k]
    operations: [${operations}]
`;
}
const [ONE, TWO, THREE] = [policy('sign'), policy('sign, verify'), policy('sign, mac')];
const UNGOVERNED = policy('sign', '');
const hashOf = (text: string): string => policyHash(Buffer.from(text));

/** People who agree to what they are shown, and to nothing else: an approval is found by the whole petition. */
class People implements AskedApprovals {
  readonly asked: Petition[] = [];
  /** Calls of `take`. */
  taken = 0;
  readonly #ids: string[] = [];
  readonly #approved = new Map<string, number>();

  async ask(petition: Petition) {
    const act = canonicalize(JSON.parse(JSON.stringify(petition)));
    if (!this.#ids.includes(act)) {
      this.#ids.push(act);
      this.asked.push(petition);
    }
    const id = `a-${this.#ids.indexOf(act) + 1}`;
    return { id, isApproved: this.left(id) > 0 };
  }

  async take(petition: Petition): Promise<ApprovalUse> {
    this.taken++;
    const { id } = await this.ask(petition);
    const uses = this.#approved.get(id) ?? 0;
    if (uses === 0) {
      throw new Failure('APPROVAL_REQUIRED', 'approvals are missing', { metadata: { approval: id } });
    }
    this.#approved.set(id, uses - 1);
    return {
      id,
      votes: [7, 8],
      isEmergency: false,
      record: { id, votes: [7, 8] },
      giveBack: () => this.#approved.set(id, (this.#approved.get(id) ?? 0) + 1),
    };
  }

  approve(id: string): void {
    this.#approved.set(id, 1);
  }

  left(id: string): number {
    return this.#approved.get(id) ?? 0;
  }
}

let directory: string;
let file: string;
let log: FakePolicyLog;
let rows: PolicyRows;
let people: People;
let holder: PolicyHolder | undefined;

async function open(approvals: (() => People | undefined) | undefined = () => people): Promise<PolicyHolder> {
  holder?.close();
  holder = await PolicyHolder.open({
    file,
    history: join(directory, 'policies'),
    administrators: [ALICE, BOB],
    trustDomain: 'example.org',
    audit: log,
    rows,
    approvals,
    log: () => undefined,
  });
  return holder;
}
const propose = (held: PolicyHolder, text: string, by = ALICE) => held.propose(Buffer.from(text), by);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'policy-governance-'));
  file = join(directory, 'policy.yaml');
  log = new FakePolicyLog();
  rows = new PolicyRows(new StateStore(':memory:'));
  people = new People();
  await writeFile(file, ONE);
});
afterEach(async () => {
  holder?.close();
  holder = undefined;
  await rm(directory, { recursive: true });
});

describe('under governance a changed file alone changes nothing', () => {
  it('while the broker runs, and says what to do', async () => {
    const held = await open();
    await writeFile(file, TWO);
    await expect(held.reload()).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(held.refusal).toContain('propose it');
    expect(people.asked).toEqual([]);
    expect(log.entries.at(-1)).toMatchObject({
      kind: 'policy',
      decision: 'deny',
      detail: { offered: hashOf(TWO) },
    });
    await writeFile(file, ONE);
    await held.reload();
    expect(held.refusal).toBe('');
  });

  it('over a restart', async () => {
    await open();
    await writeFile(file, TWO);
    const held = await open();
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(held.refusal).toContain('propose it');
    expect(log.entries.filter(({ decision }) => decision === 'allow')).toHaveLength(1);
  });

  it('nor does a file that has no governance, no policy in it, or is gone', async () => {
    await open();
    for (const text of [UNGOVERNED, 'no policy']) {
      await writeFile(file, text);
      const held = await open();
      expect(held.current.hash).toBe(hashOf(ONE));
      await expect(held.reload()).rejects.toThrow(Failure);
      expect(held.current.hash).toBe(hashOf(ONE));
    }
    await rm(file);
    expect((await open()).current.hash).toBe(hashOf(ONE));
  });

  it('nor does the loss of what was in force: the broker does not start', async () => {
    await open();
    await rm(join(directory, 'policies'), { recursive: true });
    await writeFile(file, TWO);
    await expect(open()).rejects.toThrow('no longer among the kept policies');
  });

  it('nor one that was kept and then rewritten', async () => {
    await open();
    await writeFile(join(directory, 'policies', `${hashOf(ONE).slice(7)}.yaml`), TWO);
    await expect(open()).rejects.toThrow('no longer among the kept policies');
  });

  it('but it brings governance, and everything before it', async () => {
    await writeFile(file, UNGOVERNED);
    const held = await open();
    await writeFile(file, ONE);
    await held.reload();
    expect(held.current.governance?.approvals).toBe(2);
    await writeFile(file, UNGOVERNED);
    await expect(held.reload()).rejects.toThrow(Failure);
    expect(held.current.hash).toBe(hashOf(ONE));
  });
});

describe('governance that somebody takes off in the files of the log', () => {
  const activation = () => log.entries.findLastIndex(({ decision }) => decision === 'allow');
  const forge = (change: (detail: NonNullable<EntryDraft['detail']>) => EntryDraft['detail']): void => {
    const entry = log.entries[activation()]!;
    log.entries[activation()] = { ...entry, detail: change(entry.detail!) };
  };

  it('in the index counts for nothing: the log itself is read', async () => {
    await open();
    await writeFile(file, UNGOVERNED);
    log.isHidden = ({ operation }) => operation === 'activate';
    expect((await open()).current.hash).toBe(hashOf(ONE));
  });

  it('in the index counts for nothing either where the state remembers nothing yet', async () => {
    await open();
    await writeFile(file, UNGOVERNED);
    rows = new PolicyRows(new StateStore(':memory:'));
    log.isHidden = ({ operation }) => operation === 'activate';
    expect((await open()).current.hash).toBe(hashOf(ONE));
    expect(rows.inForce).toEqual({ hash: hashOf(ONE), isGoverned: true });
  });

  it('in an entry stops the start, which says what the log and the state say', async () => {
    await open();
    await writeFile(file, UNGOVERNED);
    forge(({ governed, ...detail }) => ({ ...detail, governee: governed }));
    await expect(open()).rejects.toThrow(
      `by the log it is ${hashOf(ONE)} without \`governance\`, by the state ${hashOf(ONE)} with \`governance\`. Bring the log`,
    );
    expect(rows.inForce?.isGoverned).toBe(true);
  });

  it('by an entry that had no room for it stops the start', async () => {
    await open();
    await writeFile(file, UNGOVERNED);
    forge((detail) => ({ omittedBytes: JSON.stringify(detail).length }));
    await expect(open()).rejects.toThrow('does not say which policy came into force');
    rows = new PolicyRows(new StateStore(':memory:'));
    await expect(open()).rejects.toThrow('does not say which policy came into force');
  });

  it('by another kept policy in its place stops the start', async () => {
    const held = await open();
    await propose(held, TWO);
    forge((detail) => ({ ...detail, after: hashOf(TWO) }));
    await expect(open()).rejects.toThrow('disagree about the policy in force');
  });

  it('by taking the entry away stops the start', async () => {
    await open();
    log.entries.splice(0);
    await writeFile(file, UNGOVERNED);
    await expect(open()).rejects.toThrow('by the log it is none');
  });
});

describe('a broker that ends in the middle of an activation', () => {
  async function agreed(): Promise<PolicyHolder> {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    return held;
  }

  it('after the entry starts with the new policy', async () => {
    const held = await agreed();
    const settle = rows.settle.bind(rows);
    rows.settle = () => {
      throw new Error('killed');
    };
    await held.activate(hashOf(TWO), ALICE);
    expect([rows.inForce?.hash, rows.next?.hash]).toEqual([hashOf(ONE), hashOf(TWO)]);
    rows.settle = settle;
    expect((await open()).current.hash).toBe(hashOf(TWO));
    expect([rows.inForce?.hash, rows.next]).toEqual([hashOf(TWO), undefined]);
  });

  it('before the entry starts with the old one', async () => {
    const held = await agreed();
    log.failure = new AuditError('AUDIT_UNAVAILABLE', 'killed');
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow('killed');
    expect(rows.next?.hash).toBe(hashOf(TWO));
    expect((await open()).current.hash).toBe(hashOf(ONE));
    expect(rows.next).toBeUndefined();
  });

  it('does nothing where the state cannot be written', async () => {
    const held = await agreed();
    rows.begin = () => {
      throw new Error('disk is full');
    };
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow('disk is full');
    expect([held.current.hash, log.entries.length, people.left('a-1')]).toEqual([hashOf(ONE), 1, 1]);
  });
});

describe('another policy', () => {
  it('is proposed, agreed to and activated, and all of it is on record', async () => {
    const held = await open();
    const proposed = await propose(held, TWO);
    expect(proposed).toMatchObject({ policyHash: hashOf(TWO), approval: 'a-1', isApproved: false });
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(people.asked).toMatchObject([
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
    people.approve('a-1');
    expect(await propose(held, TWO)).toMatchObject({ approval: 'a-1', isApproved: true });
    expect((await held.activate(hashOf(TWO), ALICE)).hash).toBe(hashOf(TWO));
    expect([held.current.hash, await readFile(file, 'utf8'), held.refusal]).toEqual([hashOf(TWO), TWO, '']);
    expect(log.entries.at(-1)?.detail).toMatchObject({
      before: hashOf(ONE),
      after: hashOf(TWO),
      by: ALICE,
      governed: true,
      approval: { id: 'a-1', votes: [7, 8] },
    });
    expect(people.left('a-1')).toBe(0);
    expect((await open()).current.hash).toBe(hashOf(TWO));
  });

  it('is proposed without using anything of what people agreed to', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    expect(await propose(held, TWO)).toMatchObject({ approval: 'a-1', isApproved: true });
    expect([people.taken, people.left('a-1')]).toEqual([0, 1]);
  });

  it('is neither proposed nor activated where nobody can be shown what changes', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    await rm(join(directory, 'policies', `${hashOf(ONE).slice(7)}.yaml`));
    for (const refused of [propose(held, THREE), held.activate(hashOf(TWO), ALICE)])
      await expect(refused).rejects.toMatchObject({
        reason: 'REQUEST_INVALID',
        message: expect.stringContaining('shown what changes'),
      });
    expect([held.current.hash, people.taken, people.asked.length]).toEqual([hashOf(ONE), 0, 1]);
  });

  it('is among those that were in force only once it is', async () => {
    const held = await open();
    await propose(held, TWO);
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    const kept = async () =>
      (await readdir(join(directory, 'policies'))).filter((name) => name.startsWith(hashOf(TWO).slice(7)));
    expect(await kept()).toEqual([`${hashOf(TWO).slice(7)}.proposed.yaml`]);
    people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    expect(await kept()).toEqual([`${hashOf(TWO).slice(7)}.yaml`]);
  });

  it('is not one that somebody else proposed', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    await expect(held.activate(hashOf(TWO), BOB)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    expect(held.current.hash).toBe(hashOf(ONE));
  });

  it('is not what was agreed to any more once another one is in force', async () => {
    const held = await open();
    await propose(held, TWO);
    await propose(held, THREE);
    people.approve('a-1');
    people.approve('a-2');
    await held.activate(hashOf(TWO), ALICE);
    await expect(held.activate(hashOf(THREE), ALICE)).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      metadata: { approval: 'a-3' },
    });
  });

  it('is also an earlier one, and one without governance', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    await expect(held.activate(hashOf(ONE), ALICE)).rejects.toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    await expect(propose(held, UNGOVERNED)).resolves.toMatchObject({ isApproved: false });
    await expect(held.activate(hashOf(UNGOVERNED), ALICE)).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
    });
    expect(people.asked.at(-1)?.content).toMatchObject({ text: expect.stringContaining('governance') });
  });

  it('must be one: what has a mistake is not proposed', async () => {
    const held = await open();
    await expect(propose(held, 'version: 1\nrules: 7\n')).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
      message: expect.stringContaining('policy.yaml:2:8'),
    });
    await expect(propose(held, ONE)).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(people.asked).toEqual([]);
  });

  it('is not proposed where nobody has to agree', async () => {
    await writeFile(file, UNGOVERNED);
    const held = await open();
    await expect(propose(held, TWO)).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    await writeFile(file, policy('mac', ''));
    expect((await held.reload()).hash).toBe(hashOf(policy('mac', '')));
  });

  it('does not come into force while nobody can be asked', async () => {
    await propose(await open(), TWO);
    const held = await open(() => undefined);
    await expect(propose(held, TWO)).rejects.toMatchObject({ reason: 'BUSY' });
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toMatchObject({ reason: 'BUSY' });
    expect(held.current.hash).toBe(hashOf(ONE));
  });

  it('does not come into force unrecorded, and the approval is given back', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    log.failure = new AuditError('AUDIT_UNAVAILABLE', 'no space left');
    await expect(held.activate(hashOf(TWO), ALICE)).rejects.toThrow(AuditError);
    expect([held.current.hash, people.left('a-1')]).toEqual([hashOf(ONE), 1]);
    log.failure = undefined;
    await held.activate(hashOf(TWO), ALICE);
    expect([held.current.hash, people.left('a-1')]).toEqual([hashOf(TWO), 0]);
  });

  it('that is on record is in force after a kill before the file was written', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    await held.activate(hashOf(TWO), ALICE);
    await writeFile(file, ONE);
    expect((await open()).current.hash).toBe(hashOf(TWO));
  });

  it('is in force even where the file cannot be written, and that is told', async () => {
    const held = await open();
    await propose(held, TWO);
    people.approve('a-1');
    await rm(file);
    await held.activate(hashOf(TWO), ALICE);
    expect(held.current.hash).toBe(hashOf(TWO));
    expect(held.refusal).toContain('cannot be written');
  });

  it('with more differences than an act can show is attached to it', async () => {
    const held = await open();
    const rules = Array.from(
      { length: 400 },
      (_, i) =>
        `  - { id: r${i}, workloads: [spiffe://example.org/w${i}], keys: [k${i}], operations: [sign] }\n`,
    ).join('');
    await propose(held, `${ONE}${rules}`);
    const [{ content, attachment } = {}] = people.asked;
    expect(content).toMatchObject({ kind: 'attached', bytes: attachment?.length });
    const text = Buffer.from(attachment ?? []).toString();
    expect(text).toContain(`in force: ${hashOf(ONE)}\nproposed: sha256:`);
    expect(text).toContain('rule r399 added');
  });
});
