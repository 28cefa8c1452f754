import type { Facts, FactValue } from '../../policy/decision.ts';
import type { JsonObject, JsonValue } from './strict-json.ts';

/** Freezes a tree of plain values that nobody else holds yet. */
export function frozen<T extends FactValue>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner as FactValue);
  }
  return value;
}

/** JSON as conditions see it: whole numbers are CEL's `int`, which is a bigint here. */
export function factOf(value: JsonValue): FactValue {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(factOf);
  if (typeof value === 'object' && value !== null) return factsOf(value as JsonObject);
  return value as string | boolean | null;
}

export function factsOf(object: JsonObject): Facts {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, factOf(value)]));
}
