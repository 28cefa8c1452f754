import type { Facts, FactValue } from './decision.ts';

/** What YAML or JSON was read to, as conditions see it: whole numbers are integers. Its depth must be bounded. */
export function factOf(value: unknown): FactValue {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return Object.freeze(value.map(factOf));
  if (typeof value !== 'object' || value === null) return value as string | boolean | null;
  return Object.freeze(
    Object.fromEntries(Object.entries(value).map(([name, member]) => [name, factOf(member)])),
  );
}

export function isFacts(value: FactValue | undefined): value is Facts {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
