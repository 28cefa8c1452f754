import type { BenchAlgorithm } from './algorithms.ts';
import { FULL_PATH_KEYS } from './bench-instance.ts';

/** What is measured in every round, in the order of a round: what is compared stands close together. */
export type Scenario = { readonly name: string } & (
  | {
      readonly part: 'raw';
      readonly algorithm: BenchAlgorithm;
      readonly how: 'one-process' | 'two-processes' | 'alone';
    }
  | { readonly part: 'worker-path'; readonly algorithm: 'ES256' | 'RS256' }
  | { readonly part: 'echo'; readonly load: Load }
  | { readonly part: 'full'; readonly keyIndex: number; readonly load: Load }
);

export interface Load {
  readonly mode: 'unary' | 'stream';
  readonly inFlight: number;
}

export const LOADS: readonly Load[] = [
  { mode: 'unary', inFlight: 1 },
  { mode: 'unary', inFlight: 16 },
  { mode: 'unary', inFlight: 64 },
  { mode: 'stream', inFlight: 64 },
  { mode: 'stream', inFlight: 256 },
];

/** As in the names of measures: `unary64`. */
export function loadName({ mode, inFlight }: Load): string {
  return `${mode}${inFlight}`;
}

/** `es256`, and `es256_verify_never` for the key whose signatures are not verified. */
export function keyPrefix(keyIndex: number): string {
  const { algorithm, verify } = FULL_PATH_KEYS[keyIndex]!;
  return `${algorithm.toLowerCase()}${verify === 'never' ? '_verify_never' : ''}`;
}

export const SCENARIOS: readonly Scenario[] = [
  ...rawScenarios('ES256'),
  { name: 'raw_es256_alone', part: 'raw', algorithm: 'ES256', how: 'alone' },
  { name: 'worker_path_es256', part: 'worker-path', algorithm: 'ES256' },
  ...LOADS.flatMap((load): Scenario[] => [
    { name: `echo_${loadName(load)}`, part: 'echo', load },
    fullScenario(0, load),
    fullScenario(1, load),
  ]),
  ...rawScenarios('Ed25519'),
  ...LOADS.map((load) => fullScenario(2, load)),
  ...rawScenarios('RS256'),
  { name: 'worker_path_rs256', part: 'worker-path', algorithm: 'RS256' },
  ...LOADS.map((load) => fullScenario(3, load)),
  ...rawScenarios('A256GCM'),
  // Only signatures are streamed.
  ...LOADS.filter(({ mode }) => mode === 'unary').map((load) => fullScenario(4, load)),
];

function rawScenarios(algorithm: BenchAlgorithm): Scenario[] {
  const prefix = `raw_${algorithm.toLowerCase()}`;
  return [
    { name: `${prefix}_one_process`, part: 'raw', algorithm, how: 'one-process' },
    { name: `${prefix}_two_processes`, part: 'raw', algorithm, how: 'two-processes' },
  ];
}

function fullScenario(keyIndex: number, load: Load): Scenario {
  return { name: `${keyPrefix(keyIndex)}_${loadName(load)}`, part: 'full', keyIndex, load };
}
