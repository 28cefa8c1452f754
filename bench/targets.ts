/** One number of a run. Whoever adds a measurement adds rows; names are stable, because runs are compared by them. */
export interface Row {
  readonly measure: string;
  readonly value: number;
  readonly unit: string;
}

export interface Target {
  readonly measure: string;
  readonly relation: 'at least' | 'at most';
  readonly bound: number;
}

/** Ratios where there is something to compare with, so that they hold on a slow machine and on a fast one. */
export const TARGETS: readonly Target[] = [
  { measure: 'es256_unary64_vs_echo', relation: 'at least', bound: 0.45 },
  { measure: 'es256_stream256_vs_raw', relation: 'at least', bound: 0.3 },
  { measure: 'rs256_unary64_vs_raw', relation: 'at least', bound: 0.6 },
  { measure: 'rs256_stream64_vs_raw', relation: 'at least', bound: 0.72 },
  { measure: 'es256_added_p50_ms_at_1', relation: 'at most', bound: 0.45 },
  { measure: 'worker_path_es256_vs_raw', relation: 'at least', bound: 0.85 },
  { measure: 'worker_path_rs256_vs_raw', relation: 'at least', bound: 0.95 },
  { measure: 'failover_gap_ms_crash', relation: 'at most', bound: 500 },
  { measure: 'failover_gap_ms_hang_over_limit', relation: 'at most', bound: 500 },
  { measure: 'fair_share_b', relation: 'at least', bound: 0.9 },
  { measure: 'fair_p99_b_vs_alone', relation: 'at most', bound: 3 },
  { measure: 'slow_token_use', relation: 'at least', bound: 0.97 },
  { measure: 'grant_rps_vs_no_quorum', relation: 'at least', bound: 0.8 },
  { measure: 'approve_to_release_ms_p50', relation: 'at most', bound: 50 },
  { measure: 'rss_total_mib_after_1m_ops', relation: 'at most', bound: 450 },
  { measure: 'refusal_median_ratio', relation: 'at most', bound: 1.05 },
  { measure: 'decision_us_p50_1k_rules', relation: 'at most', bound: 10 },
  { measure: 'decision_10k_vs_10_rules', relation: 'at most', bound: 2 },
  { measure: 'load_10k_rules_s', relation: 'at most', bound: 1 },
  { measure: 'simulate_1m_s', relation: 'at most', bound: 60 },
];

export type Verdict = 'met' | 'missed' | 'not measured';

export function judge(
  target: Target,
  rows: readonly Row[],
): { readonly verdict: Verdict; readonly value: number } {
  const value = rows.find(({ measure }) => measure === target.measure)?.value ?? Number.NaN;
  if (Number.isNaN(value)) return { verdict: 'not measured', value };
  const isMet = target.relation === 'at least' ? value >= target.bound : value <= target.bound;
  return { verdict: isMet ? 'met' : 'missed', value };
}
