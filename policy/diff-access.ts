/**
 * What the changes of a policy come to, for whom: which no rule says alone. Computed over names that stand for the
 * patterns of both files.
 */
import { OPERATIONS, type Operation } from './decision.ts';
import { canonical, listOf, type PartChange } from './diff-parts.ts';
import { sharedWitness, witnesses } from './diff-witness.ts';
import type { LoadedPolicy } from './load.ts';
import type { LoadedRule } from './load-rule.ts';
import { type Pattern, patternCovers, patternsOverlap } from './pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import type { PolicyText } from './policy-text.ts';
import { OPERATION_ALGORITHMS } from './vocabulary.ts';

export interface AccessChange {
  /** `conditions`: allowed before and after, but under other windows, limits, conditions or by another rule of that kind. */
  readonly change: 'gains' | 'loses' | 'conditions';
  /** Pattern, or both patterns whose common names are meant. */
  readonly workloads: string;
  /** Empty for `random`. */
  readonly keys: string;
  readonly operation: Operation;
  /** Empty: all that the operation has. */
  readonly algorithms: readonly string[];
  /** The rules that now decide: those that allow, or those that deny. */
  readonly rules: readonly string[];
  /** Allowed only where windows, limits, conditions or guards of those rules hold. */
  readonly isConditional: boolean;
}

/** Fields that say whom and what a rule is about; every other one is a condition on it. */
const STATIC_FIELDS: ReadonlySet<string> = new Set([
  'id',
  'effect',
  'workloads',
  'keys',
  'operations',
  'algorithms',
  'description',
]);
const MAX_PAIRS = 20_000;
const MAX_PATTERNS = 2_000;

interface Side {
  readonly rules: readonly RuleOfSide[];
  readonly byWorkload: PatternIndex;
  readonly byKey: PatternIndex;
}

interface RuleOfSide {
  readonly rule: LoadedRule;
  /** What it asks beyond names; empty: nothing. */
  readonly terms: string;
  /** It refers to something that has changed. */
  readonly isRedefined: boolean;
}

interface Witness {
  /** What it stands for, as the report says it. */
  readonly text: string;
  readonly segments: readonly string[];
}

/** What a policy says to one name of a workload and one of a key. */
interface Access {
  /** `operation algorithm` to the rules that allow it, and their terms. */
  readonly allowed: Map<string, { readonly rules: string[]; readonly terms: string[] }>;
  /** `operation algorithm` to the rules that deny it outright. */
  readonly denied: Map<string, string[]>;
}

/**
 * Only names that a changed rule is about can gain or lose. For each pattern of a changed rule: names of its own, and
 * one for every pattern of either file that it has names in common with. What three patterns and more have in common
 * has no witness of its own.
 *
 * @param parts of the same two files
 * @param maxPairs of names that are computed
 */
export function accessChanges(
  beforeText: PolicyText,
  afterText: PolicyText,
  parts: readonly PartChange[],
  maxPairs: number = MAX_PAIRS,
): { readonly access: readonly AccessChange[]; readonly isCut: boolean } {
  const before = sideOf(beforeText, []);
  const after = sideOf(afterText, redefinedNames(beforeText, afterText, parts));
  const changedIds = new Set(parts.filter(({ part }) => part === 'rule').map(({ id }) => id));
  const all = [...before.rules, ...after.rules];
  const changed = all.filter(({ rule, isRedefined }) => isRedefined || changedIds.has(rule.id));
  if (changed.length === 0) return { access: [], isCut: false };
  const workloadPatterns = distinct(all.flatMap(({ rule }) => rule.workloads));
  const keyPatterns = distinct(all.flatMap(({ rule }) => rule.keys));
  const taken = new Set([...workloadPatterns, ...keyPatterns].flatMap(({ segments }) => segments));
  const isCut = workloadPatterns.length > MAX_PATTERNS || keyPatterns.length > MAX_PATTERNS;
  const workloadWitnesses = witnessesOf(workloadPatterns.slice(0, MAX_PATTERNS), taken);
  const keyWitnesses = witnessesOf(keyPatterns.slice(0, MAX_PATTERNS), taken);
  const seen = new Set<string>();
  const found: AccessChange[] = [];
  const compare = (workload: Witness, key: Witness | undefined): readonly OperationChange[] => {
    const old = accessOf(before, workload.segments, key?.segments);
    const next = accessOf(after, workload.segments, key?.segments);
    return OPERATIONS.filter((operation) => (operation === 'random') === (key === undefined)).flatMap(
      (operation) => operationChanges(old, next, operation),
    );
  };
  for (const [workload, key] of patternPairs(changed, maxPairs)) {
    // What holds for the pattern in general is said once; of the names that it shares with others, what differs.
    let general: string | undefined;
    for (const one of workloadWitnesses(workload)) {
      for (const other of key === undefined ? [undefined] : keyWitnesses(key)) {
        const name = `${one.segments.join('/')} ${other?.segments.join('/') ?? ''}`;
        const isSeen = seen.has(name);
        if (isSeen && general !== undefined) continue;
        if (seen.size >= maxPairs) return { access: found, isCut: true };
        seen.add(name);
        const changes = compare(one, other);
        const text = JSON.stringify(changes);
        const isGeneral = general === undefined;
        general ??= text;
        if (isSeen || (!isGeneral && text === general)) continue;
        found.push(...changes.map((change) => ({ ...change, workloads: one.text, keys: other?.text ?? '' })));
      }
    }
  }
  return { access: found, isCut };
}

/** Of what stands in other lists and is not what it was, as JSON: rules that refer to it mean something else now. */
function redefinedNames(before: PolicyText, after: PolicyText, parts: readonly PartChange[]): string[] {
  const changed = parts.filter(({ part, id }) => id !== '' && part !== 'rule' && part !== 'role');
  const people = new Set(changed.filter(({ part }) => part === 'approver').map(({ id }) => id));
  return [
    ...changed.map(({ id }) => id),
    ...groupsOf(people, before.loaded),
    ...groupsOf(people, after.loaded),
  ].map((name) => JSON.stringify(name));
}

function groupsOf(people: ReadonlySet<string>, { groups }: LoadedPolicy): string[] {
  return [...groups].filter(([, members]) => members.some((id) => people.has(id))).map(([name]) => name);
}

function sideOf({ loaded, document }: PolicyText, redefined: readonly string[]): Side {
  const sources = listOf(document.rules);
  const rules = loaded.rules.map((rule) => {
    const fields = Object.entries(sources[rule.index] ?? {}).filter(([field]) => !STATIC_FIELDS.has(field));
    const terms = fields.length === 0 ? '' : canonical(Object.fromEntries(fields));
    const isRedefined = redefined.some((name) => terms.includes(name));
    return { rule, terms: isRedefined ? `${terms} redefined` : terms, isRedefined };
  });
  const [byWorkload, byKey] = [new PatternIndex(), new PatternIndex()];
  for (const { rule } of rules) {
    for (const pattern of rule.workloads) byWorkload.add(pattern, rule.index);
    for (const pattern of rule.keys) byKey.add(pattern, rule.index);
  }
  return { rules, byWorkload, byKey };
}

/** The pairs of patterns that rules are about, each once. */
function patternPairs(
  rules: readonly RuleOfSide[],
  maxPairs: number,
): readonly (readonly [Pattern, Pattern | undefined])[] {
  const pairs = new Map<string, readonly [Pattern, Pattern | undefined]>();
  for (const { rule } of rules) {
    const keys = rule.operations.includes('random') ? [undefined] : rule.keys;
    for (const workload of rule.workloads) {
      for (const key of keys) {
        if (pairs.size < maxPairs) pairs.set(`${workload.text} ${key?.text ?? ''}`, [workload, key]);
      }
    }
  }
  return [...pairs.values()];
}

function distinct(patterns: readonly Pattern[]): Pattern[] {
  return [...new Map(patterns.map((pattern) => [pattern.text, pattern])).values()];
}

/** Witnesses of a pattern: its own, and those it shares with others; each name once. */
function witnessesOf(
  patterns: readonly Pattern[],
  taken: ReadonlySet<string>,
): (pattern: Pattern) => readonly Witness[] {
  const memo = new Map<string, readonly Witness[]>();
  return (pattern) => {
    const known = memo.get(pattern.text);
    if (known !== undefined) return known;
    const found = new Map<string, Witness>();
    for (const segments of witnesses(pattern, taken)) {
      found.set(segments.join('/'), { text: pattern.text, segments });
    }
    for (const other of patterns) {
      if (other.text === pattern.text || !patternsOverlap(pattern, other)) continue;
      const segments = sharedWitness(pattern, other, taken);
      if (segments === undefined || found.has(segments.join('/'))) continue;
      const text = patternCovers(pattern, other)
        ? other.text
        : patternCovers(other, pattern)
          ? pattern.text
          : `${other.text} that are also ${pattern.text}`;
      found.set(segments.join('/'), { text, segments });
    }
    const all = [...found.values()];
    memo.set(pattern.text, all);
    return all;
  };
}

function accessOf(side: Side, workload: readonly string[], key: readonly string[] | undefined): Access {
  const access: Access = { allowed: new Map(), denied: new Map() };
  const ofKey = key === undefined ? undefined : side.byKey.find(key);
  // In the order of the file, which is that of the indexes.
  const mine = [...side.byWorkload.find(workload)]
    .filter((i) => ofKey?.has(i) !== false)
    .sort((a, b) => a - b);
  for (const index of mine) {
    const { rule, terms } = side.rules[index]!;
    for (const operation of rule.operations) {
      if ((operation === 'random') !== (key === undefined)) continue;
      for (const algorithm of algorithmsOf(operation)) {
        if (rule.algorithms !== undefined && !rule.algorithms.includes(algorithm)) continue;
        const what = `${operation} ${algorithm}`;
        if (rule.effect === 'deny' && terms === '') push(access.denied, what, rule.id);
        else {
          const entry = access.allowed.get(what) ?? { rules: [], terms: [] };
          if (rule.effect === 'allow') entry.rules.push(rule.id);
          // The rule that a term stands in does not matter; that it is a denial does.
          entry.terms.push(`${rule.effect} ${terms}`);
          access.allowed.set(what, entry);
        }
      }
    }
  }
  return access;
}

function push(map: Map<string, string[]>, name: string, value: string): void {
  const list = map.get(name);
  if (list === undefined) map.set(name, [value]);
  else list.push(value);
}

function algorithmsOf(operation: Operation): readonly string[] {
  const algorithms = OPERATION_ALGORITHMS[operation];
  return algorithms.length === 0 ? [''] : algorithms;
}

/** Undefined: denied. Otherwise under which terms it is allowed; empty: none. */
function termsOf(access: Access, what: string): string | undefined {
  const entry = access.allowed.get(what);
  if (access.denied.has(what) || entry === undefined || entry.rules.length === 0) return undefined;
  // An allow rule without terms makes those of other allow rules meaningless; those of deny rules stay.
  const isFree = entry.terms.includes('allow ');
  return entry.terms
    .filter((term) => term !== 'allow ' && !(isFree && term.startsWith('allow ')))
    .sort()
    .join('\n');
}

type OperationChange = Omit<AccessChange, 'workloads' | 'keys'>;

function operationChanges(before: Access, after: Access, operation: Operation): OperationChange[] {
  const groups = new Map<string, OperationChange & { readonly algorithms: string[] }>();
  const algorithms = algorithmsOf(operation);
  for (const algorithm of algorithms) {
    const what = `${operation} ${algorithm}`;
    const [old, now] = [termsOf(before, what), termsOf(after, what)];
    if (old === now) continue;
    const change = old === undefined ? 'gains' : now === undefined ? 'loses' : 'conditions';
    const rules = (now === undefined ? after.denied.get(what) : after.allowed.get(what)?.rules) ?? [];
    const isConditional = now !== undefined && now !== '';
    const name = JSON.stringify([change, rules, isConditional]);
    const group = groups.get(name);
    if (group === undefined)
      groups.set(name, { change, operation, algorithms: [algorithm], rules, isConditional });
    else group.algorithms.push(algorithm);
  }
  return [...groups.values()].map((group) =>
    group.algorithms.length === algorithms.length ? { ...group, algorithms: [] } : group,
  );
}
