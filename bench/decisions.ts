import { compilePolicy } from '../policy/compile.ts';
import type { KeyUseQuestion, PolicySet } from '../policy/decision.ts';
import { median, percentile } from './statistics.ts';
import type { Row } from './targets.ts';

/**
 * What a decision costs, and a policy of ten thousand rules to load. Limits are named by a decision and counted
 * elsewhere: their counters are not in these numbers.
 */
const RULE_COUNTS = [10, 1000, 10_000] as const;
const DECISIONS = 20_000;
const WARM_UP = 20_000;
/** Callers and moments change from one decision to the next, as they do in a broker. */
const CALLERS = 64;
const NOW = Date.parse('2026-11-23T12:00:00Z');
const LOADS = 3;

/** `plain` is decided from the memo; `timed` has three limits and a window; `full` has a condition as well. */
type Kind = 'plain' | 'timed' | 'full';

const PARTS: { readonly [kind in 'plain' | 'timed']: object } = {
  plain: {},
  timed: {
    windows: [{ days: 'mon-fri', from: '08:00', to: '18:00', zone: 'Europe/Berlin' }],
    limits: [
      { max: 500, per: '1s', by: 'workload' },
      { max: 1_000_000, per: '1d', by: 'key' },
      { max: 10_000_000, per: '30d', by: 'rule' },
    ],
  },
};

export function policyOf(count: number, kind: Kind): Uint8Array {
  const parts =
    kind === 'full'
      ? {
          ...PARTS.timed,
          when: 'request.bytes <= 65536 && request.algorithm == "ES256" && workload.path[1] == key.path[0]',
        }
      : PARTS[kind];
  const rules = Array.from({ length: count }, (_, i) => ({
    id: `team-${i}-signs`,
    workloads: [`spiffe://example.org/ns/team${i}/sa/*`],
    keys: [`team${i}/*`],
    operations: ['sign', 'verify'],
    algorithms: ['ES256'],
    ...parts,
  }));
  return new TextEncoder().encode(asYaml(rules));
}

// As people write it: a rule is a block, and what stands in it is on lines of its own.
function asYaml(rules: readonly object[]): string {
  const blocks = rules.map((rule) =>
    Object.entries(rule)
      .map(([name, value], i) => `${i === 0 ? '  - ' : '    '}${name}: ${JSON.stringify(value)}\n`)
      .join(''),
  );
  return `version: 1\nrules:\n${blocks.join('')}`;
}

export function questionsOf(count: number): readonly KeyUseQuestion[] {
  return Array.from({ length: CALLERS }, (_, i) => {
    const team = i % count;
    return {
      spiffeId: `spiffe://example.org/ns/team${team}/sa/api${i}`,
      operation: 'sign',
      key: `team${team}/jwt`,
      algorithm: 'ES256',
      circumstances: {
        now: NOW + i * 997,
        clockDoubtMs: 5,
        bytes: 32 + i,
        content: 'digest',
        version: 0,
        evidence: ['x509-svid'],
        peerAddress: '10.0.0.7',
      },
    };
  });
}

/** Microseconds of every single decision, ascending. @throws Error when one is not what it must be */
function decide(set: PolicySet, questions: readonly KeyUseQuestion[]): Float64Array {
  const times = new Float64Array(DECISIONS);
  for (let i = -WARM_UP; i < DECISIONS; i++) {
    const question = questions[(i + WARM_UP) % questions.length];
    if (question === undefined) throw new Error('nothing to ask');
    const begun = performance.now();
    const { effect } = set.decide(question);
    const micros = (performance.now() - begun) * 1000;
    if (effect !== 'allow') throw new Error(`${question.spiffeId} was denied`);
    if (i >= 0) times[i] = micros;
  }
  return times.sort();
}

function loadSeconds(kind: Kind): number {
  const bytes = policyOf(10_000, kind);
  return median(
    Array.from({ length: LOADS }, () => {
      const begun = performance.now();
      compilePolicy(bytes, { hash: 'sha256:bench' });
      return (performance.now() - begun) / 1000;
    }),
  );
}

export function decisionRows(): readonly Row[] {
  // First, while there is little else in memory: half of the time is spent collecting what parsing leaves.
  const [loadPlain, loadFull] = [loadSeconds('plain'), loadSeconds('full')];
  const rows: Row[] = [];
  const p50 = new Map<string, number>();
  for (const kind of ['plain', 'timed', 'full'] as const) {
    for (const count of RULE_COUNTS) {
      const set = compilePolicy(policyOf(count, kind), { hash: 'sha256:bench' });
      const times = decide(set, questionsOf(count));
      const middle = percentile(times, 0.5);
      const total = times.reduce((sum, time) => sum + time, 0);
      p50.set(`${kind} ${count}`, middle);
      const name = `decision_${kind}_${count}_rules`;
      rows.push(
        { measure: `${name}_per_s`, value: (DECISIONS * 1e6) / total, unit: '1/s' },
        { measure: `${name}_p50_us`, value: middle, unit: 'µs' },
        { measure: `${name}_p99_us`, value: percentile(times, 0.99), unit: 'µs' },
      );
    }
  }
  const of = (name: string): number => p50.get(name) ?? Number.NaN;
  return [
    { measure: 'decision_us_p50_1k_rules', value: of('full 1000'), unit: 'µs' },
    { measure: 'decision_10k_vs_10_rules', value: of('full 10000') / of('full 10'), unit: 'ratio' },
    { measure: 'load_10k_rules_s', value: loadPlain, unit: 's' },
    { measure: 'load_10k_rules_with_limits_and_conditions_s', value: loadFull, unit: 's' },
    ...rows,
  ];
}

if (import.meta.main) {
  for (const { measure, value, unit } of decisionRows()) {
    process.stdout.write(`${measure.padEnd(40)} ${value.toPrecision(4)} ${unit}\n`);
  }
}
