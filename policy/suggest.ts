/**
 * The rules that would have allowed exactly what was seen: exact names, the operations and algorithms that were used
 * with each, nothing else. A start for a policy that people then read and widen where they mean to.
 */
import { type KeyUseQuestion, OPERATIONS, type Operation } from './decision.ts';
import { isKeyName, isReservedKeyName } from './key-name.ts';
import { readRecordedEntry } from './replay.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { OPERATION_ALGORITHMS, policyAlgorithm } from './vocabulary.ts';

export interface SuggestionOptions {
  /** SPIFFE IDs; left out: every workload. */
  readonly workloads?: readonly string[] | undefined;
}

/** What one workload did with one key. */
interface Use {
  readonly workload: string;
  readonly key: string;
  readonly allowed: Map<Operation, AllowedUse>;
  /** Requests that people had agreed to: no rule without a quorum follows from them. */
  approved: number;
  /** `operation algorithm` of what was refused, and how often. */
  readonly refused: Map<string, number>;
}

interface AllowedUse {
  /** '' where none was named. */
  readonly algorithms: Set<string>;
  requests: number;
}

/** What may be done, as a rule writes it. */
interface Body {
  readonly operations: readonly Operation[];
  /** Undefined: every one. */
  readonly algorithms: readonly string[] | undefined;
}

export interface Suggestion {
  /** A policy file. */
  readonly yaml: string;
  readonly rules: number;
  /** Allowed requests that it was made from. */
  readonly requests: number;
  /** What it could not tell apart, in words: to be read before the file is used. */
  readonly notes: readonly string[];
}

const MAX_USES = 20_000;
const MAX_NAMES = 256;
const MAX_NOTES = 50;

/** Entries one after the other; what is kept is one record for each workload and key. */
export class SuggestionBuilder {
  readonly #workloads: ReadonlySet<string> | undefined;
  readonly #uses = new Map<string, Use>();
  #requests = 0;
  #firstTime = '';
  #lastTime = '';
  #left = 0;

  constructor(options: SuggestionOptions = {}) {
    this.#workloads = options.workloads === undefined ? undefined : new Set(options.workloads);
  }

  /** @param entry parsed as JSON */
  add(entry: unknown): void {
    const recorded = readRecordedEntry(entry);
    if (recorded.kind !== 'request') return;
    const { question, effect, isAsked, time } = recorded.request;
    if (this.#workloads?.has(question.spiffeId) === false || !canBeNamed(question)) return;
    if (this.#firstTime === '') this.#firstTime = time;
    this.#lastTime = time;
    const use = this.#use(question);
    if (use === undefined) {
      this.#left++;
      return;
    }
    if (isAsked) {
      use.approved += Number(effect === 'allow');
      return;
    }
    const { operation } = question;
    const algorithm = policyAlgorithm(question.algorithm);
    if (effect === 'deny') {
      const what = `${operation} ${algorithm}`;
      if (use.refused.size < MAX_NAMES || use.refused.has(what))
        use.refused.set(what, (use.refused.get(what) ?? 0) + 1);
      return;
    }
    let allowed = use.allowed.get(operation);
    if (allowed === undefined) {
      allowed = { algorithms: new Set(), requests: 0 };
      use.allowed.set(operation, allowed);
    }
    allowed.algorithms.add(algorithm);
    allowed.requests++;
    this.#requests++;
  }

  #use({ spiffeId, key }: KeyUseQuestion): Use | undefined {
    const name = `${spiffeId} ${key}`;
    let use = this.#uses.get(name);
    if (use === undefined && this.#uses.size < MAX_USES) {
      use = { workload: spiffeId, key, allowed: new Map(), approved: 0, refused: new Map() };
      this.#uses.set(name, use);
    }
    return use;
  }

  #keysOf(isWanted: (operation: Operation) => boolean): ReadonlySet<string> {
    const uses = [...this.#uses.values()].filter(({ allowed }) => [...allowed.keys()].some(isWanted));
    return new Set(uses.map(({ key }) => key));
  }

  suggest(): Suggestion {
    const notes: string[] = [];
    const rules = mergedRules([...this.#uses.values()], notes);
    const raw = this.#keysOf((operation) => operation === 'sign');
    for (const key of this.#keysOf((operation) => operation !== 'sign' && operation.startsWith('sign-'))) {
      if (raw.has(key))
        note(
          notes,
          `${key} was used for typed signing and for signing bare bytes: with these rules it takes the first alone`,
        );
    }
    if (this.#left > 0) notes.push(`${this.#left} requests of further workloads and keys are not in it`);
    const header = [
      `Suggested from ${this.#requests} allowed requests, ${this.#firstTime || 'none'} to ${this.#lastTime || 'none'}.`,
      'Exactly what was seen, and nothing else: widen it where you mean to, and add the roles.',
      'Not in the log, and so not in here: `verify`, which runs without the token.',
      ...notes,
    ];
    const head = header.map((line) => `# ${line}\n`).join('');
    const yaml =
      rules.length === 0
        ? `${head}version: 1\nrules: []\n`
        : `${head}version: 1\nrules:\n${rules.map(ruleYaml).join('\n')}`;
    return { yaml, rules: rules.length, requests: this.#requests, notes };
  }
}

/** Only what a rule can name: others were never allowed by one. */
function canBeNamed({ spiffeId, operation, key }: KeyUseQuestion): boolean {
  const id = spiffeIdOrUndefined(spiffeId);
  if (id === undefined || id.segments.length === 0) return false;
  return operation === 'random' ? key === '' : isKeyName(key) && !isReservedKeyName(key);
}

interface SuggestedRule extends Body {
  readonly id: string;
  readonly workloads: readonly string[];
  readonly keys: readonly string[];
  readonly requests: number;
}

/** One rule for all keys of a workload with the same uses, then one for all workloads with the same rule. */
function mergedRules(uses: readonly Use[], notes: string[]): SuggestedRule[] {
  const byWorkload = new Map<string, { workload: string; body: Body; keys: string[]; requests: number }>();
  const sorted = uses.toSorted((a, b) => compare(a.workload, b.workload) || compare(a.key, b.key));
  for (const use of sorted) {
    if (use.approved > 0) {
      note(
        notes,
        `${use.workload} used ${use.key} ${use.approved} times after people had agreed: not in it, write a rule with \`quorum\``,
      );
    }
    for (const { requests, ...body } of bodiesOf(use, notes)) {
      const name = JSON.stringify([use.workload, body]);
      let entry = byWorkload.get(name);
      if (entry === undefined) {
        entry = { workload: use.workload, body, keys: [], requests: 0 };
        byWorkload.set(name, entry);
      }
      if (use.key !== '') entry.keys.push(use.key);
      entry.requests += requests;
    }
  }
  const byRule = new Map<string, { workloads: string[]; body: Body; keys: string[]; requests: number }>();
  for (const { workload, body, keys, requests } of byWorkload.values()) {
    for (const some of chunks(keys)) {
      const name = JSON.stringify([body, some]);
      const rule = byRule.get(name);
      if (rule === undefined) byRule.set(name, { workloads: [workload], body, keys: some, requests });
      else {
        rule.workloads.push(workload);
        rule.requests += requests;
      }
    }
  }
  const ids = new Set<string>();
  return [...byRule.values()].flatMap(({ workloads, body, keys, requests }) =>
    chunks(workloads).map((some) => ({
      id: ruleId(some, keys, body, ids),
      workloads: some,
      keys,
      requests,
      ...body,
    })),
  );
}

/** Operations with the same algorithms share a rule: `sign` with ES256 and ES384 with `decrypt` would allow both of both. */
function bodiesOf(use: Use, notes: string[]): (Body & { readonly requests: number })[] {
  const byAlgorithms = new Map<
    string,
    { operations: Operation[]; algorithms: readonly string[] | undefined; requests: number }
  >();
  for (const operation of OPERATIONS) {
    const seen = use.allowed.get(operation);
    if (seen === undefined) continue;
    const { requests } = seen;
    // A request without an algorithm is allowed only by a rule that takes every one.
    const algorithms = seen.algorithms.has('') ? undefined : [...seen.algorithms].sort(compare);
    const name = JSON.stringify(algorithms ?? null);
    const body = byAlgorithms.get(name);
    if (body === undefined) byAlgorithms.set(name, { operations: [operation], algorithms, requests });
    else {
      body.operations.push(operation);
      body.requests += requests;
    }
    for (const [what, count] of use.refused) {
      const [refused = '', algorithm = ''] = what.split(' ');
      if (refused !== operation || (algorithms !== undefined && !algorithms.includes(algorithm))) continue;
      note(
        notes,
        `${use.workload} was also refused ${what.trim()}${use.key === '' ? '' : ` with ${use.key}`}, ${count} times: by a window, a limit or a condition that this file does not have`,
      );
    }
    if (algorithms === undefined && OPERATION_ALGORITHMS[operation].length > 0) {
      note(
        notes,
        `${use.workload} named no algorithm for ${operation} with ${use.key}: every algorithm of the key is allowed`,
      );
    }
  }
  return [...byAlgorithms.values()];
}

function note(notes: string[], text: string): void {
  if (notes.length < MAX_NOTES) notes.push(text);
}

function chunks(names: readonly string[]): string[][] {
  const found: string[][] = [];
  for (let i = 0; i === 0 || i < names.length; i += MAX_NAMES) found.push(names.slice(i, i + MAX_NAMES));
  return found;
}

/** `payments-api-sign-jwt`, with a number where that is taken. */
function ruleId(
  workloads: readonly string[],
  keys: readonly string[],
  body: Body,
  taken: Set<string>,
): string {
  const whole = (workloads[0] ?? '').slice('spiffe://'.length).split('/');
  const who = whole
    .slice(1)
    .filter((segment) => !['ns', 'sa'].includes(segment))
    .slice(-2)
    .join('-');
  const what = body.operations[0] ?? '';
  const which = (keys[0] ?? '').split('/').at(-1) ?? '';
  const base = [who, what, which]
    .filter((part) => part !== '')
    .join('-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 56);
  let id = base === '' ? 'rule' : base;
  for (let i = 2; taken.has(id); i++) id = `${base === '' ? 'rule' : base}-${i}`;
  taken.add(id);
  return id;
}

function ruleYaml({ id, workloads, keys, operations, algorithms, requests }: SuggestedRule): string {
  // Names of workloads and keys hold no character that a quoted text would have to escape.
  const list = (names: readonly string[]): string => names.map((name) => `\n      - "${name}"`).join('');
  return `  - id: ${id}
    description: Seen ${requests} times.
    workloads:${list(workloads)}
${keys.length === 0 ? '' : `    keys:${list(keys)}\n`}    operations: [${operations.join(', ')}]
${algorithms === undefined ? '' : `    algorithms: [${algorithms.join(', ')}]\n`}`;
}

// By code unit: the same on every machine.
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
