import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { approvalRows } from './approvals.ts';
import {
  FORBIDDEN_KEY,
  FULL_PATH_KEYS,
  OTHER_RULES,
  UNKNOWN_KEY,
  UNKNOWN_KEY_WITHIN_RULES,
} from './bench-instance.ts';
import { type BenchToken, makeBenchTokens, removeBenchTokens } from './bench-tokens.ts';
import type { Sample } from './closed-loop.ts';
import { decisionRows } from './decisions.ts';
import { failoverRows } from './failover.ts';
import { fairnessRows } from './fairness.ts';
import { type ByRole, FullPath } from './full-path.ts';
import { GrpcEcho } from './grpc-echo.ts';
import { RawPkcs11 } from './raw-pkcs11.ts';
import { fsyncMs, realFileSystem } from './real-file-system.ts';
import { machineLine, otherTable, rowsOf, scenarioTable, targetTable } from './report.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { simulationRows } from './simulate.ts';
import { slowTokenRows } from './slow-token.ts';
import type { Row } from './targets.ts';
import { twoTokensRows } from './two-tokens.ts';
import { WorkerPath } from './worker-path.ts';

/** `npm run bench`: what is measured, and how, is described in README.md. */
const USAGE = `usage: npm run bench -- [--json FILE] [--only NAME]... [--seconds N] [--rounds N] [--long] [--program FILE]

  --json FILE   save the numbers as an array of {measure, value, unit}
  --only NAME   only scenarios whose name contains NAME, and the parts \`refusals\`, \`memory\`, \`decisions\`, \`simulate\`, \`failover\`, \`fairness\`, \`slow-token\`, \`two-tokens\` and \`approvals\`; may be repeated
  --seconds N   of each sample, default 1
  --rounds N    samples of each scenario, default 3
  --long        go on to a million operations before memory is looked at
  --program FILE  the lastmile to measure, such as dist/broker/main.js; by default this tree's
`;

const MILLION = 1_000_000;
const REFUSED_CALLS = 10_000;
/** Lines of the broker's log that are shown when requests failed. */
const LAST_WORDS = 5;
const WARM_UP_SECONDS = 0.4;
/** Results of one slice are kept until they are checked. */
const SLICE_SECONDS = 3;

const { values: flags } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string', multiple: true },
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    long: { type: 'boolean', default: false },
    program: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
}

// Whoever reads the output may leave first (`| head`): what was started is ended all the same.
process.stdout.on('error', (error) => interrupted.abort(error));

/** What happens at tokens in trouble and at slow ones; each starts what it needs. */
const TOKEN_PARTS: Readonly<Record<string, (signal: AbortSignal) => Promise<readonly Row[]>>> = {
  failover: failoverRows,
  fairness: fairnessRows,
  'slow-token': slowTokenRows,
  'two-tokens': twoTokensRows,
  approvals: approvalRows,
};

/** What is started only when something needs it. */
interface Parts {
  readonly raw: RawPkcs11 | undefined;
  readonly workerPath: WorkerPath | undefined;
  readonly echo: GrpcEcho | undefined;
  readonly full: FullPath | undefined;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : '');
}

function isWanted(name: string): boolean {
  return flags.only === undefined || flags.only.some((wanted) => name.includes(wanted));
}

function positive(text: string, flag: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${flag} wants a number above 0, not ${text}`);
  return value;
}

async function main(): Promise<void> {
  const seconds = positive(flags.seconds, 'seconds');
  const rounds = Math.ceil(positive(flags.rounds, 'rounds'));
  const scenarios = SCENARIOS.filter(({ name }) => isWanted(name));
  const others = ['refusals', 'memory', 'decisions', 'simulate', ...Object.keys(TOKEN_PARTS)].filter(
    isWanted,
  );
  if (scenarios.length + others.length === 0)
    throw new Error(`nothing is called ${flags.only?.join(' or ')}`);
  // Token, instance and log all go where TMPDIR says.
  const place = realFileSystem();
  process.env.TMPDIR = place;
  const fsync = fsyncMs(place);
  say(`${machineLine()}; fsync ${fsync.toFixed(2)} ms`);

  await using resources = new AsyncDisposableStack();
  const parts = await openParts(scenarios, others, resources);
  const samples = await takeRounds(parts, scenarios, seconds, rounds);
  const rows: Row[] = [...rowsOf(samples)];
  const more: Row[] = [{ measure: 'fsync_p50_ms', value: fsync, unit: 'ms' }];
  if (parts.full !== undefined) {
    if (others.includes('refusals')) more.push(...(await refusalRows(parts.full)));
    if (others.includes('memory')) more.push(...(await memoryRows(parts.full)));
    more.push({ measure: 'results_checked', value: parts.full.checkedResults, unit: '1' });
  }
  if (others.includes('decisions')) {
    progress('decisions');
    more.push(...decisionRows());
  }
  for (const [name, measure] of Object.entries(TOKEN_PARTS)) {
    if (!others.includes(name)) continue;
    progress(name);
    more.push(...(await measure(interrupted.signal)));
  }
  if (others.includes('simulate')) {
    progress('simulate');
    more.push(...(await simulationRows()));
  }
  rows.push(...more);
  progress('');
  say(`\n${rounds} rounds of ${seconds} s each`);
  if (parts.full !== undefined) {
    say(
      `full path: ${OTHER_RULES} rules of others in force; all ${parts.full.checkedResults} results were checked and good`,
    );
  }
  say('');
  say(`${scenarioTable(samples, rows)}\n`);
  say(
    `${otherTable([...more, ...rows.filter(({ measure }) => measure.startsWith('worker_path') && measure.endsWith('vs_raw'))])}\n`,
  );
  say(targetTable(rows));
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(rows, null, 2)}\n`);
  const failures = failuresOf(samples);
  if (failures !== '') {
    say(
      `\nrequests failed:\n${failures}\nthe broker's last words:\n${parts.full?.lastWords(LAST_WORDS) ?? ''}`,
    );
    process.exitCode = 1;
  }
}

function failuresOf(samples: ReadonlyMap<string, readonly Sample[]>): string {
  const lines: string[] = [];
  for (const [name, taken] of samples) {
    const reasons: Record<string, number> = {};
    for (const { failures } of taken) {
      for (const [reason, count] of Object.entries(failures))
        reasons[reason] = (reasons[reason] ?? 0) + count;
    }
    const parts = Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`);
    if (parts.length > 0) lines.push(`  ${name}: ${parts.join(', ')}`);
  }
  return lines.join('\n');
}

async function openParts(
  scenarios: readonly Scenario[],
  others: readonly string[],
  resources: AsyncDisposableStack,
): Promise<Parts> {
  const needs = (part: Scenario['part']) => scenarios.some((scenario) => scenario.part === part);
  const closing = <T extends { close(): Promise<void> }>(part: T): T =>
    resources.adopt(part, (it) => it.close());
  let tokens: readonly BenchToken[] = [];
  if (needs('raw') || needs('worker-path'))
    tokens = resources.adopt(await makeBenchTokens(), removeBenchTokens);
  return {
    raw: needs('raw') ? closing(await RawPkcs11.open(tokens)) : undefined,
    workerPath: needs('worker-path') ? closing(await WorkerPath.open(tokens)) : undefined,
    echo: needs('echo') ? closing(await GrpcEcho.open()) : undefined,
    full:
      needs('full') || others.includes('refusals') || others.includes('memory')
        ? closing(await FullPath.open(flags.program === undefined ? undefined : resolve(flags.program)))
        : undefined,
  };
}

async function takeRounds(
  parts: Parts,
  scenarios: readonly Scenario[],
  seconds: number,
  rounds: number,
): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const samples = new Map<string, Sample[]>();
  // Round 0 warms compilers and pools up and is thrown away.
  for (let round = 0; round <= rounds; round += 1) {
    for (const scenario of scenarios) {
      interrupted.signal.throwIfAborted();
      progress(`${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}: ${scenario.name}`);
      const sample = await take(parts, scenario, round === 0 ? WARM_UP_SECONDS : seconds);
      if (round === 0) continue;
      const taken = samples.get(scenario.name);
      if (taken === undefined) samples.set(scenario.name, [sample]);
      else taken.push(sample);
    }
  }
  return samples;
}

function take(parts: Parts, scenario: Scenario, seconds: number): Promise<Sample> {
  switch (scenario.part) {
    case 'raw': {
      const raw = parts.raw!;
      if (scenario.how === 'alone') return raw.alone(scenario.algorithm, seconds);
      return scenario.how === 'one-process'
        ? raw.oneProcess(scenario.algorithm, seconds)
        : raw.processForEachToken(scenario.algorithm, seconds);
    }
    case 'worker-path':
      return parts.workerPath!.run(scenario.algorithm, seconds);
    case 'echo':
      return parts.echo!.run(scenario.load.mode, scenario.load.inFlight, seconds);
    case 'full': {
      const { mode, inFlight } = scenario.load;
      return parts.full!.run(FULL_PATH_KEYS[scenario.keyIndex]!, mode, inFlight, seconds);
    }
    default:
      return scenario satisfies never;
  }
}

/** Whoever is refused must not learn from the time it took whether there is such a key. */
async function refusalRows(full: FullPath): Promise<readonly Row[]> {
  progress('refusals');
  const pair = await full.refusals([FORBIDDEN_KEY, UNKNOWN_KEY], REFUSED_CALLS);
  const within = await full.refusals([FORBIDDEN_KEY, UNKNOWN_KEY_WITHIN_RULES], REFUSED_CALLS / 4);
  const apart = (medians: readonly number[]) => Math.max(...medians) / Math.min(...medians);
  return [
    { measure: 'refusal_forbidden_key_median_ms', value: pair[0]!, unit: 'ms' },
    { measure: 'refusal_unknown_key_median_ms', value: pair[1]!, unit: 'ms' },
    { measure: 'refusal_median_ratio', value: apart(pair), unit: 'ratio' },
    { measure: 'refusal_unknown_within_rules_ratio', value: apart(within), unit: 'ratio' },
  ];
}

async function memoryRows(full: FullPath): Promise<readonly Row[]> {
  const total = (resident: ByRole) => Object.values(resident).reduce((sum, mib) => sum + mib, 0);
  const key = FULL_PATH_KEYS[0];
  // Two looks, with work between them: what grows does so from one to the other.
  const first = { operations: full.checkedResults, mib: total(full.resident()) };
  const goal = flags.long ? MILLION : full.checkedResults + 1;
  for (let slice = 0; full.checkedResults < goal; slice += 1) {
    interrupted.signal.throwIfAborted();
    progress(`memory: ${full.checkedResults} operations of ${goal}`);
    if (slice % 2 === 0) await full.run(key, 'stream', 256, SLICE_SECONDS);
    else await full.run(key, 'unary', 64, SLICE_SECONDS);
  }
  const resident = full.resident();
  const operations = full.checkedResults;
  const mib = total(resident);
  const growth = ((mib - first.mib) * 100_000) / (operations - first.operations);
  return [
    ...Object.entries(resident).map(([role, value]) => ({
      measure: `rss_mib_${role.replaceAll('-', '_')}`,
      value,
      unit: 'MiB',
    })),
    { measure: 'rss_total_mib', value: mib, unit: 'MiB' },
    { measure: 'rss_total_mib_operations', value: operations, unit: '1' },
    { measure: 'rss_growth_mib_per_100k_ops', value: growth, unit: 'MiB' },
    ...(operations >= MILLION ? [{ measure: 'rss_total_mib_after_1m_ops', value: mib, unit: 'MiB' }] : []),
  ];
}

if (flags.help) {
  process.stdout.write(USAGE);
} else {
  try {
    await main();
  } catch (error) {
    progress('');
    process.stderr.write(
      `bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exitCode = 1;
  }
}
