/**
 * What changes from one policy to another, for whom, in words: rule by rule and field by field as people wrote them,
 * and then what it comes to, computed over names that stand for the patterns of both files.
 */
import { OPERATIONS, type Operation } from './decision.ts';
import { sharedWitness, witnesses } from './diff-witness.ts';
import { type LoadedPolicy, loadPolicySource, MAX_POLICY_BYTES, type PolicyOptions } from './load.ts';
import type { LoadedRule } from './load-rule.ts';
import { type Pattern, patternCovers, patternsOverlap } from './pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import { parseYamlSource } from './source.ts';
import type { SourceIssue } from './source-issue.ts';
import { OPERATION_ALGORITHMS } from './vocabulary.ts';

export interface FieldChange {
  /** `keys`, `limits`. */
  readonly field: string;
  /** As JSON; undefined: not there. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface PartChange {
  readonly change: 'added' | 'removed' | 'changed';
  /** `rule`, `role`, or the name of another list of the file. */
  readonly part: string;
  /** Its id; empty for a part that has none. */
  readonly id: string;
  readonly fields: readonly FieldChange[];
}

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

export interface PolicyDiff {
  readonly parts: readonly PartChange[];
  readonly access: readonly AccessChange[];
  /** More combinations of names than are computed: `access` is not all. */
  readonly isCut: boolean;
}

export type PolicyDiffResult =
  | { readonly ok: true; readonly diff: PolicyDiff }
  | { readonly ok: false; readonly issues: readonly SourceIssue[] };

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

type Part = { readonly [name: string]: unknown };
type Document = Readonly<Record<string, unknown>>;

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

/** A policy file as it was written, beside what was loaded of it. */
export interface PolicyText {
  readonly loaded: LoadedPolicy;
  /** Its values; empty when it could not be read. */
  readonly document: Document;
}

/** Never throws for anything the bytes hold: `loaded.issues` has what is wrong. */
export function readPolicyText(bytes: Uint8Array, options: PolicyOptions = {}): PolicyText {
  const parsed = parseYamlSource(bytes, { file: options.file, maxBytes: MAX_POLICY_BYTES });
  const loaded = loadPolicySource(parsed, options);
  return { loaded, document: parsed.ok && isMap(parsed.source.value) ? parsed.source.value : {} };
}

/** @returns the issues of the first of the two that is not right */
export function diffPolicies(
  before: Uint8Array,
  after: Uint8Array,
  options: { readonly before?: PolicyOptions; readonly after?: PolicyOptions } = {},
): PolicyDiffResult {
  const old = readPolicyText(before, options.before);
  if (old.loaded.issues.length > 0) return { ok: false, issues: old.loaded.issues };
  return diffPolicyTexts(old, readPolicyText(after, options.after));
}

/** @param maxPairs of names that access is computed for; 20,000 by default */
export function diffPolicyTexts(
  before: PolicyText,
  after: PolicyText,
  maxPairs: number = MAX_PAIRS,
): PolicyDiffResult {
  for (const { loaded } of [before, after]) {
    if (loaded.issues.length > 0) return { ok: false, issues: loaded.issues };
  }
  const parts = partChanges(before.document, after.document);
  // Rules refer to what stands in other lists by its name: they mean something else now.
  const changed = parts.filter(({ part, id }) => id !== '' && part !== 'rule' && part !== 'role');
  const people = new Set(changed.filter(({ part }) => part === 'approver').map(({ id }) => id));
  const redefined = [
    ...changed.map(({ id }) => id),
    ...groupsOf(people, before.loaded),
    ...groupsOf(people, after.loaded),
  ].map((name) => JSON.stringify(name));
  const [old, next] = [sideOf(before, []), sideOf(after, redefined)];
  return { ok: true, diff: { parts, ...accessChanges(old, next, parts, maxPairs) } };
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

function isMap(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): readonly Part[] {
  return Array.isArray(value) ? (value as readonly Part[]) : [];
}

/** Names in order, so that their order in the file is no difference. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}

/** Lists whose order means nothing: names, operations, methods. */
function fieldText(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) {
    return JSON.stringify(value.toSorted());
  }
  return canonical(value);
}

function partChanges(before: Document, after: Document): PartChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => name !== 'version',
  );
  return names.flatMap((name) => {
    const [old, next] = [before[name], after[name]];
    if (isIdentified(old) && isIdentified(next)) return listChanges(singular(name), old ?? [], next ?? []);
    // Calendars: lists by their names.
    if (isNamed(old) && isNamed(next)) return listChanges(singular(name), identified(old), identified(next));
    const fields = fieldChanges({ [name]: old }, { [name]: next });
    const change = old === undefined ? 'added' : next === undefined ? 'removed' : 'changed';
    return fields.length === 0 ? [] : [{ change, part: name, id: '', fields } as const];
  });
}

function isIdentified(value: unknown): value is readonly Part[] | undefined {
  return (
    value === undefined ||
    (Array.isArray(value) && value.every((item) => typeof (item as Part | null)?.id === 'string'))
  );
}

function isNamed(value: unknown): value is Document | undefined {
  return value === undefined || (isMap(value) && Object.values(value).every(Array.isArray));
}

function identified(named: Document | undefined): Part[] {
  return Object.entries(named ?? {}).map(([id, value]) => ({ id, entries: value }));
}

function singular(name: string): string {
  return name.endsWith('s') ? name.slice(0, -1) : name;
}

function listChanges(part: string, before: readonly Part[], after: readonly Part[]): PartChange[] {
  const old = new Map(before.map((item) => [String(item.id), item]));
  const next = new Map(after.map((item) => [String(item.id), item]));
  const changes: PartChange[] = [];
  for (const [id, item] of old) {
    const now = next.get(id);
    if (now === undefined) changes.push({ change: 'removed', part, id, fields: fieldChanges(item, {}) });
    else {
      const fields = fieldChanges(item, now);
      if (fields.length > 0) changes.push({ change: 'changed', part, id, fields });
    }
  }
  for (const [id, item] of next) {
    if (!old.has(id)) changes.push({ change: 'added', part, id, fields: fieldChanges({}, item) });
  }
  return changes;
}

function fieldChanges(before: Part, after: Part): FieldChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((field) => field !== 'id')
    .map((field) => ({ field, before: fieldText(before[field]), after: fieldText(after[field]) }))
    .filter((change) => change.before !== change.after);
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
 */
function accessChanges(
  before: Side,
  after: Side,
  parts: readonly PartChange[],
  maxPairs: number,
): { readonly access: readonly AccessChange[]; readonly isCut: boolean } {
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
