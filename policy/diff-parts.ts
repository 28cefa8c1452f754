/** What changes in the text of a policy: part by part and field by field, whatever it comes to. */
import { isMap, type PolicyDocument } from './policy-text.ts';

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

/** An item of a list of the file: a rule, a role. */
export type Part = { readonly [name: string]: unknown };

export function listOf(value: unknown): readonly Part[] {
  return Array.isArray(value) ? (value as readonly Part[]) : [];
}

/** JSON with names in order, so that their order in the file is no difference. */
export function canonical(value: unknown): string {
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

/** Empty for files that say the same, in whatever order. */
export function partChanges(before: PolicyDocument, after: PolicyDocument): PartChange[] {
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

function isNamed(value: unknown): value is PolicyDocument | undefined {
  return value === undefined || (isMap(value) && Object.values(value).every(Array.isArray));
}

function identified(named: PolicyDocument | undefined): Part[] {
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
