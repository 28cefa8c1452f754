import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkPolicy } from './check.ts';
import { compilePolicy } from './compile.ts';
import type { Operation } from './decision.ts';
import { Simulation } from './replay.ts';
import { encodeInputs } from './replay-inputs.ts';
import { SuggestionBuilder } from './suggest.ts';
import { OPERATION_ALGORITHMS } from './vocabulary.ts';

interface Seen {
  readonly workload: string;
  readonly key: string;
  readonly operation: Operation;
  readonly algorithm: string;
}

const inputs = encodeInputs({
  now: 1_700_000_000_000,
  clockDoubtMs: 0,
  bytes: 32,
  content: 'digest',
  version: 0,
  evidence: ['x509-svid'],
  peerAddress: '10.0.0.1',
});

function entryOf({ workload, key, operation, algorithm }: Seen, isAllowed: boolean, leaf: number): object {
  return {
    leaf,
    time: new Date(1_700_000_000_000 + leaf).toISOString(),
    kind: 'key-use',
    subject: workload,
    operation,
    ...(key === '' ? {} : { key }),
    ...(algorithm === '' ? {} : { algorithm }),
    inputs,
    decision: isAllowed ? 'allow' : 'deny',
    ...(isAllowed ? { rule: 'old', performed: 'yes' } : { reason: 'POLICY_DENIED', performed: 'no' }),
  };
}

function suggestionFrom(entries: readonly object[], workloads?: readonly string[]) {
  const builder = new SuggestionBuilder({ workloads });
  for (const entry of entries) builder.add(entry);
  return builder.suggest();
}

const workloads = ['a', 'b', '-c', 'ns/x/sa/y'].map((path) => `spiffe://example.org/${path}`);
const operations = ['sign', 'decrypt', 'mac', 'encrypt', 'generate-data-key', 'random'] as const;
const seen: fc.Arbitrary<Seen> = fc
  .record({
    workload: fc.constantFrom(...workloads),
    key: fc.constantFrom('payments/jwt', 'payments/data', 'x', '.y/-'),
    operation: fc.constantFrom(...operations),
    choice: fc.nat(20),
  })
  .map(({ choice, ...rest }) => {
    const algorithms = OPERATION_ALGORITHMS[rest.operation];
    return rest.operation === 'random'
      ? { ...rest, key: '', algorithm: '' }
      : { ...rest, algorithm: algorithms[choice % algorithms.length]! };
  });

describe('a suggestion', () => {
  test('is a right policy that allows exactly what was allowed', () => {
    const requests = fc.uniqueArray(fc.tuple(seen, fc.boolean()), {
      selector: ([one]) => JSON.stringify(one),
      maxLength: 60,
    });
    fc.assert(
      fc.property(requests, (given) => {
        const entries = given.map(([one, isAllowed], leaf) => entryOf(one, isAllowed, leaf));
        const { yaml } = suggestionFrom(entries);
        const bytes = new TextEncoder().encode(yaml);
        expect(checkPolicy(bytes)).toMatchObject({ issues: [], warnings: [] });
        const simulation = new Simulation(compilePolicy(bytes, { hash: 'sha256:suggested' }));
        for (const entry of entries) simulation.add(entry);
        const allowed = given.filter(([, isAllowed]) => isAllowed).length;
        expect(simulation.report()).toMatchObject({
          flips: [],
          cannotReplay: 0,
          stillAllowed: allowed,
          stillDenied: given.length - allowed,
        });
      }),
    );
  });

  const sign = {
    workload: workloads[3]!,
    key: 'payments/jwt',
    operation: 'sign',
    algorithm: 'ES256',
  } as const;

  test('shares a rule where it can be shared without allowing more', () => {
    const { yaml } = suggestionFrom(
      [
        sign,
        { ...sign, key: 'payments/other' },
        { ...sign, workload: workloads[0]! },
        { ...sign, workload: workloads[0]!, key: 'payments/other' },
        { ...sign, operation: 'mac' as const, algorithm: 'HS256' },
      ].map((one, leaf) => entryOf(one, true, leaf)),
    );
    expect(yaml.slice(yaml.indexOf('version'))).toBe(`version: 1
rules:
  - id: a-sign-jwt
    description: Seen 4 times.
    workloads:
      - "spiffe://example.org/a"
      - "spiffe://example.org/ns/x/sa/y"
    keys:
      - "payments/jwt"
      - "payments/other"
    operations: [sign]
    algorithms: [ES256]

  - id: x-y-mac-jwt
    description: Seen 1 times.
    workloads:
      - "spiffe://example.org/ns/x/sa/y"
    keys:
      - "payments/jwt"
    operations: [mac]
    algorithms: [HS256]
`);
  });

  test('can be about some workloads only', () => {
    const entries = workloads.map((workload, leaf) => entryOf({ ...sign, workload }, true, leaf));
    const { yaml, requests } = suggestionFrom(entries, [workloads[1]!]);
    expect(requests).toBe(1);
    expect(yaml.match(/spiffe:.*"/g)).toEqual([`${workloads[1]}"`]);
  });

  test('says what rules by name cannot tell apart', () => {
    const { notes } = suggestionFrom([
      entryOf(sign, true, 0),
      entryOf(sign, false, 1),
      entryOf({ ...sign, operation: 'decrypt', algorithm: '' }, true, 2),
    ]);
    expect(notes).toEqual([
      `${workloads[3]} was also refused sign ES256 with payments/jwt, 1 times: by a window, a limit or a condition that this file does not have`,
      `${workloads[3]} named no algorithm for decrypt with payments/jwt: every algorithm of the key is allowed`,
    ]);
  });

  test('says which key typed signing would take for itself', () => {
    const { notes } = suggestionFrom([
      entryOf(sign, true, 0),
      entryOf({ ...sign, workload: workloads[0]!, operation: 'sign-jwt' }, true, 1),
      entryOf({ ...sign, key: 'other', operation: 'sign-dsse' }, true, 2),
    ]);
    expect(notes).toEqual([
      'payments/jwt was used for typed signing and for signing bare bytes: with these rules it takes the first alone',
    ]);
  });

  test('makes no rule without a quorum of what people had agreed to', () => {
    const used = entryOf(sign, true, 0) as { inputs: object };
    const { notes, rules } = suggestionFrom([
      { ...used, inputs: { ...used.inputs, approval: { id: 'a-1', votes: [1] } } },
      { ...entryOf(sign, false, 1), reason: 'APPROVAL_REQUIRED' },
    ]);
    expect(rules).toBe(0);
    expect(notes).toEqual([
      `${sign.workload} used ${sign.key} 1 times after people had agreed: not in it, write a rule with \`quorum\``,
    ]);
  });

  test('does not let an entry write into the file', () => {
    const { yaml, rules } = suggestionFrom([
      entryOf({ ...sign, key: 'x"]\nrules: []' }, true, 0),
      entryOf({ ...sign, workload: 'spiffe://example.org/a"\n' }, true, 1),
      entryOf({ ...sign, key: 'lastmile/log' }, true, 2),
    ]);
    expect(rules).toBe(0);
    expect(checkPolicy(new TextEncoder().encode(yaml)).issues).toEqual([]);
  });

  test('splits what is more than a rule may name', () => {
    const many = Array.from({ length: 600 }, (_, i) => entryOf({ ...sign, key: `k/${i}` }, true, i));
    const { yaml, rules } = suggestionFrom(many);
    expect(rules).toBe(3);
    expect(checkPolicy(new TextEncoder().encode(yaml)).issues).toEqual([]);
  });
});
