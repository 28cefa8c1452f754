import { describe, expect, test } from 'vitest';
import type { Sample } from './closed-loop.ts';
import { rowsOf } from './report.ts';
import { SCENARIOS } from './scenarios.ts';
import { judge, TARGETS } from './targets.ts';

/** Every scenario at its own speed, so that a ratio of the wrong two is found out. */
function everything(rounds: number): Map<string, Sample[]> {
  return new Map(
    SCENARIOS.map(({ name }, index) => [
      name,
      Array.from({ length: rounds }, () => ({
        operations: 1000 + index,
        seconds: 1,
        latenciesMs: Float64Array.of(1 + index),
        failures: {},
        cpuUsPerOperation: { broker: 7, 'token-worker': 8 },
      })),
    ]),
  );
}

/** Measured apart from the scenarios. */
const APART = [
  'failover_gap_ms_crash',
  'failover_gap_ms_hang_over_limit',
  'fair_share_b',
  'fair_p99_b_vs_alone',
  'slow_token_use',
  'grant_rps_vs_no_quorum',
  'approve_to_release_ms_p50',
  'rss_total_mib_after_1m_ops',
  'refusal_median_ratio',
  'decision_us_p50_1k_rules',
  'decision_10k_vs_10_rules',
  'load_10k_rules_s',
  'simulate_1m_s',
];

describe('targets', () => {
  test('each names a number that a run has', () => {
    const measures = rowsOf(everything(3)).map(({ measure }) => measure);
    const missing = TARGETS.map(({ measure }) => measure).filter((measure) => !measures.includes(measure));
    expect(missing).toEqual(APART);
    expect(new Set(measures).size).toBe(measures.length);
  });

  test('ratios are of the right two scenarios', () => {
    const samples = everything(1);
    const rows = rowsOf(samples);
    const value = (measure: string) => rows.find((row) => row.measure === measure)?.value;
    const speed = (name: string) => samples.get(name)![0]!.operations;
    expect(value('es256_unary64_vs_echo')).toBe(speed('es256_unary64') / speed('echo_unary64'));
    expect(value('rs256_stream64_vs_raw')).toBe(speed('rs256_stream64') / speed('raw_rs256_two_processes'));
    expect(value('es256_stream256_cpu_us_per_op_token_worker')).toBe(8);
    const p50 = (name: string) => samples.get(name)![0]!.latenciesMs[0]!;
    expect(value('es256_added_p50_ms_at_1')).toBe(
      p50('es256_unary1') - p50('echo_unary1') - p50('raw_es256_alone'),
    );
  });

  test('the ceiling is the better of the two ways to use the sessions', () => {
    const samples = everything(1);
    const fast = { ...samples.get('raw_rs256_one_process')![0]!, operations: 9000 };
    samples.set('raw_rs256_one_process', [fast]);
    const row = rowsOf(samples).find(({ measure }) => measure === 'worker_path_rs256_vs_raw');
    expect(row?.value).toBe(samples.get('worker_path_rs256')![0]!.operations / 9000);
  });

  test('what was not measured is neither met nor missed', () => {
    const target = { measure: 'm', relation: 'at least', bound: 0.5 } as const;
    expect(judge(target, []).verdict).toBe('not measured');
    expect(judge(target, [{ measure: 'm', value: 0.5, unit: 'ratio' }]).verdict).toBe('met');
    expect(judge(target, [{ measure: 'm', value: 0.49, unit: 'ratio' }]).verdict).toBe('missed');
    expect(
      judge({ ...target, relation: 'at most' }, [{ measure: 'm', value: 0.51, unit: 'ratio' }]).verdict,
    ).toBe('missed');
  });
});
